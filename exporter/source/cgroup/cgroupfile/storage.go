package cgroupfile

import (
	"bytes"
	"math"
	"strconv"

	"github.com/estiba/estiba/exporter/source/scan"
)

// Device is the number of a block device.
type Device struct{ Major, Minor uint32 }

// Moved has the bytes transferred by one block device.
type Moved struct {
	Device
	Read, Written uint64
}

// Sum adds up devices; false on overflow.
func Sum(devices []Moved) (read, written uint64, ok bool) {
	for _, d := range devices {
		if read > math.MaxUint64-d.Read || written > math.MaxUint64-d.Written {
			return 0, 0, false
		}
		read, written = read+d.Read, written+d.Written
	}
	return read, written, true
}

// ParseDevice parses "8:16".
func ParseDevice(b []byte) (Device, bool) {
	major, minor, _ := bytes.Cut(b, []byte(":"))
	a, ok1 := scan.Uint(major)
	c, ok2 := scan.Uint(minor)
	return Device{uint32(a), uint32(c)}, ok1 && ok2 && a <= math.MaxUint32 && c <= math.MaxUint32
}

// Blkio parses a v1 file with lines such as "8:0 Read 4096". For a duplicate device the
// larger numbers count. bad is the number of lines that were not parsable.
func Blkio(b []byte) (devices []Moved, bad int) {
	for len(b) > 0 {
		var line []byte
		line, b = scan.Line(b)
		first, rest := scan.Word(line)
		kind, rest := scan.Word(rest)
		count, _ := scan.Word(rest)
		if len(count) == 0 || string(kind) != "Read" && string(kind) != "Write" {
			continue // a total, or an operation without data
		}
		d, ok1 := ParseDevice(first)
		v, ok2 := scan.Amount(count)
		if !ok1 || !ok2 {
			bad++
			continue
		}
		var at *Moved
		if devices, at = of(devices, d); string(kind) == "Read" {
			at.Read = max(at.Read, v)
		} else {
			at.Written = max(at.Written, v)
		}
	}
	return devices, bad
}

// IOStat parses io.stat of v2: lines such as "8:0 rbytes=4096 wbytes=0 …". Some kernels
// write devices without statistics in front of the next one on the same line: the
// numbers belong to the last device. For a duplicate device the larger numbers count.
// bad is the number of used values that were not parsable.
func IOStat(b []byte) (devices []Moved, bad int) {
	for len(b) > 0 {
		var line []byte
		line, b = scan.Line(b)
		var device Device
		named := false
		for {
			var word []byte
			if word, line = scan.Word(line); len(word) == 0 {
				break
			}
			key, count, found := bytes.Cut(word, []byte("="))
			if !found {
				device, named = ParseDevice(word)
				continue
			}
			read := string(key) == "rbytes"
			if !read && string(key) != "wbytes" {
				continue
			}
			v, ok := scan.Amount(count)
			if !ok || !named {
				bad++
				continue
			}
			var at *Moved
			if devices, at = of(devices, device); read {
				at.Read = max(at.Read, v)
			} else {
				at.Written = max(at.Written, v)
			}
		}
	}
	return devices, bad
}

// Devices reports whether b is empty or has a device or a total, as both files do.
func Devices(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	for len(b) > 0 {
		var line []byte
		line, b = scan.Line(b)
		word, _ := scan.Word(line)
		if _, ok := ParseDevice(word); ok || string(word) == "Total" {
			return true
		}
	}
	return false
}

// of finds or adds a device.
func of(devices []Moved, d Device) ([]Moved, *Moved) {
	for i := range devices {
		if devices[i].Device == d {
			return devices, &devices[i]
		}
	}
	devices = append(devices, Moved{Device: d})
	return devices, &devices[len(devices)-1]
}

// String returns "MAJOR:MINOR".
func (d Device) String() string {
	return strconv.FormatUint(uint64(d.Major), 10) + ":" + strconv.FormatUint(uint64(d.Minor), 10)
}
