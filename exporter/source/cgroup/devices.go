package cgroup

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/estiba/estiba/exporter/source/cgroup/cgroupfile"
	"github.com/estiba/estiba/exporter/source/scan"
)

// kind classifies block devices.
type kind int

const (
	unknown kind = iota
	whole        // a physical device, or the lowest layer visible on this host
	layer        // on top of devices that count the same bytes: LVM, LUKS, md, loop, partition
	inRAM        // zram, RAM disk
)

// devicesAge is how long device information is cached.
const devicesAge = time.Minute

// devices classifies block devices. The kernel counts a byte in each layer: the
// logical volume of the file system, the encrypted device below, the disk.
type devices struct {
	sysfs, proc string

	kinds  map[cgroupfile.Device]kind
	below  map[cgroupfile.Device]lower
	majors map[uint32]string // names of drivers, of /proc/devices
	at     time.Duration

	repeating map[cgroupfile.Device]bool // see repeats
}

func newDevices(sysfs, proc string) *devices {
	return &devices{sysfs: sysfs, proc: proc, repeating: map[cgroupfile.Device]bool{}}
}

// physical filters the bytes that reached storage: a device on top of a counted one
// does not count. A layer whose devices are unknown counts only if no other device
// does.
func (d *devices) physical(moved []cgroupfile.Moved, now time.Duration) []cgroupfile.Moved {
	if d.kinds == nil || now-d.at > devicesAge || now < d.at {
		d.kinds, d.below, d.majors, d.at = map[cgroupfile.Device]kind{}, map[cgroupfile.Device]lower{}, nil, now
	}
	kinds := make([]kind, len(moved))
	disks := false // there is a physical device
	for i := range moved {
		kinds[i] = d.kind(moved[i].Device)
		disks = disks || kinds[i] == whole
	}
	var found, loose, loops []cgroupfile.Moved
	for i, m := range moved {
		switch under := d.under(m.Device); {
		case kinds[i] == inRAM, under.known && !slices.ContainsFunc(under.devices, func(slave cgroupfile.Device) bool { return d.kind(slave) != inRAM }),
			d.covered(m.Device, moved, kinds, 0):
		case kinds[i] == whole, kinds[i] == unknown && !disks && !d.repeats(found, m), kinds[i] == layer && under.known:
			found = append(found, m)
		case kinds[i] == layer && under.loop:
			loops = append(loops, m)
		case kinds[i] == layer:
			loose = append(loose, m)
		}
	}
	switch {
	case len(found) > 0:
		return found
	case len(loose) == 0:
		return loops
	}
	most := slices.MaxFunc(loose, func(a, b cgroupfile.Moved) int { return cmp.Compare(a.Read+a.Written, b.Read+b.Written) })
	return []cgroupfile.Moved{most}
}

// lower has the devices below a device.
type lower struct {
	devices []cgroupfile.Device
	known   bool // devices is complete
	loop    bool // backed by a file
	name    string
	head    string // of an NVMe path: name of the multipath device
}

// deepest is the largest number of layers.
const deepest = 16

// covered reports whether a device below this one already counts.
func (d *devices) covered(dev cgroupfile.Device, moved []cgroupfile.Moved, kinds []kind, depth int) bool {
	under := d.under(dev)
	for i := range moved {
		if kinds[i] != inRAM && moved[i].Device != dev &&
			(under.head != "" && d.under(moved[i].Device).name == under.head || slices.Contains(under.devices, moved[i].Device)) {
			return true
		}
	}
	return depth < deepest && slices.ContainsFunc(under.devices, func(slave cgroupfile.Device) bool {
		return d.covered(slave, moved, kinds, depth+1)
	})
}

// under reads the devices below a device from sysfs: its slaves, or the disk of a
// partition.
func (d *devices) under(dev cgroupfile.Device) lower {
	b, ok := d.below[dev]
	if ok {
		return b
	}
	dir := filepath.Join(d.sysfs, "dev", "block", dev.String())
	if target, err := os.Readlink(dir); err == nil {
		b.name = filepath.Base(target)
		if path := pathName.FindStringSubmatch(b.name); path != nil {
			b.head = path[1] + path[2]
		}
	}
	var files []string
	slaves, _ := os.ReadDir(filepath.Join(dir, "slaves"))
	for _, slave := range slaves {
		files = append(files, filepath.Join(dir, "slaves", slave.Name(), "dev"))
	}
	if len(files) == 0 && exists(filepath.Join(dir, "partition")) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			files = append(files, filepath.Join(filepath.Dir(real), "dev"))
		}
	}
	b.known = len(files) > 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		slave, ok := cgroupfile.ParseDevice(bytes.TrimSpace(text))
		if b.known = b.known && err == nil && ok; ok {
			b.devices = append(b.devices, slave)
		}
	}
	b.loop = !b.known && (dev.Major == loopMajor || strings.HasPrefix(b.name, "loop"))
	d.below[dev] = b
	return b
}

// pathName matches NVMe paths: nvme0c1n1 is a path to nvme0n1.
var pathName = regexp.MustCompile(`^(nvme[0-9]+)c[0-9]+(n[0-9]+)$`)

// repeats reports whether an unknown device has, or once had, exactly the counts of a
// counted one: then one is a layer on top of the other.
func (d *devices) repeats(counted []cgroupfile.Moved, m cgroupfile.Moved) bool {
	if m.Read+m.Written > 0 && slices.ContainsFunc(counted, func(other cgroupfile.Moved) bool {
		return other.Read == m.Read && other.Written == m.Written
	}) {
		d.repeating[m.Device] = true
	}
	return d.repeating[m.Device]
}

// kind classifies a device.
func (d *devices) kind(dev cgroupfile.Device) kind {
	k, ok := d.kinds[dev]
	if !ok {
		if k = d.bySysfs(dev); k == unknown {
			k = d.byMajor(dev.Major)
		}
		d.kinds[dev] = k
	}
	return k
}

// bySysfs classifies by the device's directory
// (Documentation/ABI/stable/sysfs-block): a layer has "slaves", and only a whole device
// has a "queue".
func (d *devices) bySysfs(dev cgroupfile.Device) kind {
	dir := filepath.Join(d.sysfs, "dev", "block", dev.String())
	slaves, err := os.ReadDir(filepath.Join(dir, "slaves"))
	if len(slaves) > 0 {
		return layer
	}
	if err != nil && !exists(filepath.Join(dir, "queue")) {
		if exists(filepath.Join(dir, "partition")) {
			return layer
		}
		return unknown
	}
	if target, err := os.Readlink(dir); err == nil {
		if k := byName(filepath.Base(target)); k != unknown {
			return k
		}
	}
	if k := d.byMajor(dev.Major); k == layer && dev.Major == loopMajor || k == inRAM {
		return k
	}
	return whole
}

// byName recognizes devices that have no slaves and are no physical storage.
func byName(name string) kind {
	switch {
	case strings.HasPrefix(name, "zram"), strings.HasPrefix(name, "ram"):
		return inRAM
	case strings.HasPrefix(name, "loop"), strings.HasPrefix(name, "drbd"):
		return layer
	}
	return unknown
}

// Assigned majors (Documentation/admin-guide/devices.txt).
const (
	ramMajor  = 1
	loopMajor = 7
	mdMajor   = 9
)

// byMajor classifies a device without sysfs: by an assigned major, or by the driver in
// /proc/devices.
func (d *devices) byMajor(major uint32) kind {
	switch major {
	case ramMajor:
		return inRAM
	case loopMajor, mdMajor:
		return layer
	}
	if d.majors == nil {
		d.majors = blockMajors(filepath.Join(d.proc, "devices"))
	}
	switch name := d.majors[major]; {
	case name == "zram" || name == "ramdisk":
		return inRAM
	case name == "device-mapper" || name == "md" || name == "mdp" || name == "loop" || name == "bcache" || name == "drbd":
		return layer
	case name != "":
		return whole
	}
	// IDE, SCSI, MMC, and dynamic numbers (NVMe).
	if slices.Contains([]uint32{3, 8, 22, 33, 34, 179, 202, 259}, major) || major >= 65 && major <= 71 || major >= 128 && major <= 135 {
		return whole
	}
	return unknown
}

// blockMajors reads the second half of /proc/devices (proc_devices(5)).
func blockMajors(path string) map[uint32]string {
	names := map[uint32]string{}
	b, err := os.ReadFile(path)
	if err != nil {
		return names
	}
	block := false
	for len(b) > 0 {
		var line []byte
		line, b = scan.Line(b)
		first, rest := scan.Word(line)
		name, _ := scan.Word(rest)
		if string(first) == "Block" {
			block = true
			continue
		}
		if v, ok := scan.Uint(first); ok && block && v <= 1<<20 {
			names[uint32(v)] = string(name)
		}
	}
	return names
}
