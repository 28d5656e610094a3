//go:build estiba_guest

package guest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestAliases(t *testing.T) {
	module(t)
	for _, name := range []string{"container_info_201903553", "sysinfo_202200075"} {
		if to, err := os.Readlink("/proc/" + name); err != nil || to != "estiba" {
			t.Errorf("%s -> %q, %v", name, to, err)
		}
		text, err := os.ReadFile("/proc/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parse(text); err != nil {
			t.Error(err)
		}
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o444 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestParameters(t *testing.T) {
	gone := func(t *testing.T) {
		t.Helper()
		for _, name := range []string{file, "/proc/one", "/proc/container_info_201903553"} {
			if _, err := os.Lstat(name); !os.IsNotExist(err) {
				t.Errorf("%s exists: %v", name, err)
			}
		}
	}
	for _, params := range [][]string{
		{"aliases=one,../etc"},
		{"aliases=one,one"},
		{"aliases=one,version"},
		{"aliases=1"},
		{"aliases=one,estiba"},
		{"aliases=one,a/b"},
		{"proc_mode=0666"},
		{"proc_mode=0"},
		{"proc_gid=4294967295"},
		{"aliases=a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q"},
	} {
		if out, err := insmod(params...); err == nil {
			t.Errorf("%v: accepted", params)
			exec.Command("rmmod", "estiba").Run()
		} else {
			t.Logf("%v: %s", params, out)
		}
		gone(t)
	}
	t.Run("own", func(t *testing.T) {
		module(t, "aliases=one,two", "proc_mode=0440", "proc_gid=1000")
		if _, err := os.ReadFile("/proc/two"); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat("/proc/sysinfo_202200075"); !os.IsNotExist(err) {
			t.Errorf("default alias exists: %v", err)
		}
		for gid, allowed := range map[uint32]bool{1000: true, 1001: false} {
			cmd := exec.Command("cat", file)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: gid}}
			if err := cmd.Run(); (err == nil) != allowed {
				t.Errorf("group %d: %v", gid, err)
			}
		}
	})
	t.Run("none", func(t *testing.T) {
		module(t, "aliases=")
		read(t)
	})
	gone(t)
}

func TestOpenInContainer(t *testing.T) {
	module(t)
	cmd := exec.Command("unshare", "-mpf", "sh", "-c",
		"mount -t proc proc /proc && cat /proc/version && cat "+file)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Permission denied") || strings.Contains(string(out), "schema") {
		t.Errorf("%v: %s", err, out)
	}
	if !strings.Contains(string(out), "Linux version") {
		t.Errorf("/proc of the namespace does not work: %s", out)
	}
	// Also as root of a user namespace, through the host's mount, and with any
	// other namespaces.
	for _, flags := range []string{"-pf", "-Urpf", "-mpf", "-Urmpf", "-nipf"} {
		out, err = exec.Command("unshare", flags, "cat", file).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "Permission denied") || strings.Contains(string(out), "schema") {
			t.Errorf("unshare %s: %v: %s", flags, err, out)
		}
	}
	// Without a pid namespace it is not a container.
	if out, err := exec.Command("unshare", "-mnu", "cat", file).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestReadSizes(t *testing.T) {
	module(t, "min_interval_ms=1")
	for range 10 {
		start(t, options{load: "threads 3"})
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var byBytes []byte
	one := make([]byte, 1)
	for {
		n, err := f.Read(one)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		byBytes = append(byBytes, one[:n]...)
		if len(byBytes)%997 == 0 {
			fresh(t) // other readers get newer snapshots
		}
	}
	if _, err := parse(byBytes); err != nil {
		t.Fatal(err)
	}
	if end, err := f.Seek(0, io.SeekEnd); err != nil || end != int64(len(byBytes)) {
		t.Errorf("end at %d, want %d: %v", end, len(byBytes), err)
	}
	for offset := int64(1); offset < int64(len(byBytes)); offset += 313 {
		chunk := make([]byte, 77)
		n, err := f.ReadAt(chunk, offset)
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		if !bytes.Equal(chunk[:n], byBytes[offset:offset+int64(n)]) {
			t.Fatalf("different bytes at %d", offset)
		}
	}
	for _, offset := range []int64{int64(len(byBytes)), int64(len(byBytes)) + 1, 1 << 40, 1 << 62} {
		if n, err := f.ReadAt(one, offset); n != 0 || err != io.EOF {
			t.Errorf("at %d: %d bytes, %v", offset, n, err)
		}
		if _, err := f.Seek(offset, io.SeekStart); (err == nil) != (offset <= int64(len(byBytes))) {
			t.Errorf("seek to %d: %v", offset, err)
		}
	}
	if _, err := f.Seek(-1, io.SeekStart); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("seek to -1: %v", err)
	}
	if w, err := os.OpenFile(file, os.O_RDWR, 0); err == nil {
		if _, err := w.Write(one); err == nil {
			t.Error("opened for writing")
		}
		w.Close()
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	again, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(again, byBytes) {
		t.Errorf("second read differs: %v", err)
	}
	if newer := fresh(t); bytes.Equal(newer.text, byBytes) {
		t.Error("the snapshot never changed")
	}
}

func TestManyReadersShareOneSnapshot(t *testing.T) {
	const interval = 200 * time.Millisecond
	module(t, "min_interval_ms=200")
	for range 5 {
		start(t, options{})
	}
	first := fresh(t).host.number(t, "sequence")
	begin := time.Now()
	var wg sync.WaitGroup
	var mu sync.Mutex
	texts := map[string][]byte{}
	reads := 0
	for range 64 {
		wg.Go(func() {
			for time.Since(begin) < 2*time.Second {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Error(err)
					return
				}
				d, err := parse(text)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				reads++
				if old, ok := texts[d.host["sequence"]]; ok && !bytes.Equal(old, text) {
					t.Error("two documents with one sequence")
				}
				texts[d.host["sequence"]] = text
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	built := fresh(t).host.number(t, "sequence") - first
	most := uint64(time.Since(begin)/interval) + 2
	if built > most || built < 2 {
		t.Errorf("%d snapshots for %d reads, want 2 to %d", built, reads, most)
	}
	t.Logf("%d reads, %d snapshots", reads, built)
}

func TestMinInterval(t *testing.T) {
	module(t, "min_interval_ms=600000")
	a, b := read(t), read(t)
	if !bytes.Equal(a.text, b.text) {
		t.Error("two snapshots within the interval")
	}
	if err := os.WriteFile("/sys/module/estiba/parameters/min_interval_ms", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	c := fresh(t)
	if c.host.number(t, "sequence") <= a.host.number(t, "sequence") {
		t.Error("the sequence does not increase")
	}
}

func TestLoadAndUnload(t *testing.T) { loadAndUnload(t, 25) }

func TestLongLoadAndUnload(t *testing.T) { loadAndUnload(t, 1000) }

// reading calls read repeatedly in four goroutines until stop is called; stop waits for
// them.
func reading(read func()) (stop func()) {
	ended := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
					read()
				}
			}
		})
	}
	return func() {
		close(ended)
		readers.Wait()
	}
}

// loadAndUnload loads and unloads the module with concurrent readers, and checks that the
// memory is freed.
func loadAndUnload(t *testing.T, times int) {
	id := newID()
	start(t, options{id: id, cgroup: "docker/" + id, load: "chain 20", unshare: "pn"})
	start(t, options{load: "threads 4"})
	var good atomic.Int64
	stop := reading(func() {
		text, err := os.ReadFile(file)
		if err != nil {
			// The file was removed before, during or after open.
			if !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.EINVAL) {
				t.Errorf("read: %v", err)
			}
			time.Sleep(time.Millisecond)
			return
		}
		if _, err := parse(text); err != nil {
			t.Error(err)
		}
		good.Add(1)
	})
	var before uint64
	for i := range times {
		// The kernel keeps memory that the first ones allocate.
		if i == times/5 {
			before = kernelMemory(t)
		}
		if out, err := insmod("min_interval_ms=1"); err != nil {
			t.Fatalf("%d: %v: %s", i, err, out)
		}
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("rmmod", "estiba").CombinedOutput(); err != nil {
			t.Fatalf("%d: %v: %s", i, err, out)
		}
		// Reading from a file that is still open fails.
		if _, err := f.Read(make([]byte, 10)); !errors.Is(err, syscall.EIO) {
			t.Errorf("read after rmmod: %v", err)
		}
		f.Close()
	}
	after := kernelMemory(t)
	stop()
	if good.Load() == 0 {
		t.Error("no document was read")
	}
	t.Logf("%d complete documents read; kernel memory %d kB, then %d kB", good.Load(), before, after)
	// A leak of one page each time would be more. Memory is freed with a delay.
	if limit := before + uint64(2*times) + 1024; after > limit {
		t.Errorf("kernel memory grew from %d kB to %d kB in %d times", before, after, times-times/5)
	}
}

// kernelMemory is slab and vmalloc memory, kB.
func kernelMemory(t *testing.T) uint64 {
	t.Helper()
	return keyed(t, "/proc/meminfo", "Slab") + keyed(t, "/proc/meminfo", "VmallocUsed")
}
