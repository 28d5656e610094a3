package history

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
)

// What lies behind damage in the write-ahead log is lost, what lies before it is not;
// Prometheus starts, goes on, and says so.
func TestDamagedLog(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.start()
	all := h.collect(20)
	h.prometheus.Kill()
	segments, err := filepath.Glob(filepath.Join(h.dir, "data", "wal", "0*"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("the log is not there: %v", err)
	}
	f, err := os.OpenFile(segments[len(segments)-1], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Seek(0, 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("this is damage, and no record at all"), size*3/4); err != nil {
		t.Fatal(err)
	}
	f.Close()

	h.start()
	testutil.Eventually(t, 2*time.Minute, "EstibaPrometheusFailing fires", func() bool {
		return len(h.Query(t, `ALERTS{alertname="EstibaPrometheusFailing", alertstate="firing", problem="the write-ahead log is corrupt"}`)) == 1
	})
	after := values(t, &h.Stack, "")
	kept := 0
	for kept < len(all) && kept < len(after) && after[kept] == all[kept] {
		kept++
	}
	if kept < len(all)/4 || kept == len(all) || len(after) == kept {
		t.Errorf("of %v are left %v", all, after)
	}
}

// While the volume is full nothing new is kept; nothing old is lost, and it goes on
// when there is room again.
func TestFullVolume(t *testing.T) {
	t.Parallel()
	testutil.Require(t, testutil.Root)
	h := newHost(t)
	data := filepath.Join(h.dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", data, "tmpfs", 0, "size=16m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(data, syscall.MNT_DETACH) })
	h.start()
	all := h.collect(8)
	full, err := os.Create(filepath.Join(data, "full"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = full.Write(make([]byte, 4096))
	}
	full.Close()
	testutil.Eventually(t, time.Minute, "nothing more is taken", func() bool {
		before := len(values(t, &h.Stack, ""))
		time.Sleep(4 * time.Second) // several scrapes
		return len(values(t, &h.Stack, "")) == before
	})
	then := len(values(t, &h.Stack, ""))
	if err := os.Remove(full.Name()); err != nil {
		t.Fatal(err)
	}
	after := h.collect(then + 3)
	if !slices.Equal(after[:len(all)], all) {
		t.Errorf("the history begins with %v, it was %v", after, all)
	}
}
