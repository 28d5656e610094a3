package load_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/estiba/estiba/generator/load"
	"github.com/estiba/estiba/generator/usage"
	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/testutil"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// use returns the usage of a process.
func use(t *testing.T, pid int) usage.Usage {
	t.Helper()
	u, err := usage.Of(pid)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// storageDir is a directory on storage: a tmpfs would hide that O_DIRECT is missing.
func storageDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "estiba-load-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// start runs the load as a process of the generator.
func start(t *testing.T, program, dir string, p load.Params) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program, append(append([]string{"load"}, p.Args()...), "--lifetime=2m", "--dir="+dir)...)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", p.Kind, errors.String())
		}
	})
	return cmd
}

func TestLoadsAreRealAndDistinct(t *testing.T) {
	program := testutil.Build(t, "./generator")
	dir := storageDir(t)
	const window = 5 * time.Second
	tests := []struct {
		p     load.Params
		check func(t *testing.T, u usage.Usage, perSecond func(int64) float64)
	}{
		{load.Params{Kind: container.KindCPU, Share: 0.15}, func(t *testing.T, u usage.Usage, _ func(int64) float64) {
			// The lower bounds allow for a busy machine.
			if u.CPU < window/50 || u.CPU > window/4 {
				t.Errorf("%s of CPU in %s, want about 15 %%", u.CPU, window)
			}
		}},
		{load.Params{Kind: container.KindRAM, Bytes: 96 * mib, Rate: 8}, func(t *testing.T, u usage.Usage, _ func(int64) float64) {
			if u.RSS < 96*mib || u.RSS > 116*mib {
				t.Errorf("%d MiB resident, want 96 plus the program", u.RSS/mib)
			}
			if u.CPU > window/2 { // a page can cost microseconds on a busy virtual machine
				t.Errorf("%s of CPU in %s, want little", u.CPU, window)
			}
		}},
		{load.Params{Kind: container.KindIO, Bytes: 64 * kib, Block: 512, Rate: 100}, func(t *testing.T, u usage.Usage, perSecond func(int64) float64) {
			if n := perSecond(u.Calls); n < 15 || n > 600 {
				// A write and a read per step, and those of Go's scheduler.
				t.Errorf("%.0f calls/s, want tens or hundreds", n)
			}
			// A page per step: without the sync it would stay dirty, and count once.
			if n := perSecond(u.Written); n < 8*4096 || n > mib {
				t.Errorf("%.0f bytes/s written to storage, want a page per write", n)
			}
		}},
		{load.Params{Kind: container.KindDisk, Bytes: 16 * mib, Block: mib, Rate: 4}, func(t *testing.T, u usage.Usage, perSecond func(int64) float64) {
			if perSecond(u.Written) < mib/2 || perSecond(u.Written) > 6*mib {
				t.Errorf("%.1f MiB/s written to storage, want about 4", perSecond(u.Written)/mib)
			}
			if perSecond(u.Read) < mib/2 || perSecond(u.Read) > 6*mib {
				t.Errorf("%.1f MiB/s read from storage, want about 4", perSecond(u.Read)/mib)
			}
			if perSecond(u.Calls) > 50 {
				t.Errorf("%.0f calls/s, want few", perSecond(u.Calls))
			}
		}},
	}
	for _, tt := range tests {
		t.Run(string(tt.p.Kind), func(t *testing.T) {
			t.Parallel()
			cmd := start(t, program, dir, tt.p)
			time.Sleep(2 * time.Second) // skip the cost of starting
			before, begin := use(t, cmd.Process.Pid), time.Now()
			time.Sleep(window)
			after, took := use(t, cmd.Process.Pid), time.Since(begin).Seconds()
			tt.check(t, after.Since(before), func(n int64) float64 { return float64(n) / took })
			if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
				t.Errorf("files in the directory: %v, %v; want none, even while the load runs", left, err)
			}

			begin = time.Now()
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("after SIGTERM: %v, want exit 0", err)
			}
			if d := time.Since(begin); d > 5*time.Second {
				t.Errorf("exited %s after SIGTERM, want at once", d)
			}
		})
	}
}

// The thresholds of class low: CPU as part of a core, and resident bytes on a host of
// 4 GB, the smallest supported one.
const (
	lowCPU    = 0.0009
	lowMemory = 4e9 * 0.0016
)

func TestLowLoadsStayUnderTheClassThresholds(t *testing.T) {
	program := testutil.Build(t, "./generator")
	dir := storageDir(t)
	const window = 30 * time.Second
	for _, p := range []load.Params{
		{Kind: container.KindCPU, Share: 0.0002},
		{Kind: container.KindRAM, Bytes: 512 * kib, Rate: 0.1},
		{Kind: container.KindIO, Bytes: 64 * kib, Block: 512, Rate: 0.1},
		{Kind: container.KindDisk, Bytes: 4 * mib, Block: 256 * kib, Rate: 0.1},
	} {
		t.Run(string(p.Kind), func(t *testing.T) {
			t.Parallel()
			cmd := start(t, program, dir, p)
			time.Sleep(2 * time.Second)
			before := use(t, cmd.Process.Pid)
			time.Sleep(window)
			after := use(t, cmd.Process.Pid)
			if share := float64(after.CPU-before.CPU) / float64(window); share > lowCPU {
				t.Errorf("CPU %.3f %% of a core, want at most %.3f", share*100, lowCPU*100)
			} else if after.CPU == before.CPU {
				t.Error("no CPU used: the load does not work")
			}
			if float64(after.RSS) > lowMemory {
				t.Errorf("%d kB resident, want at most %.0f", after.RSS/kib, lowMemory/kib)
			}
			t.Logf("CPU %.4f %%, %d kB resident", float64(after.CPU-before.CPU)/float64(window)*100, after.RSS/kib)
			switch p.Kind {
			case container.KindIO:
				if n := after.Writes - before.Writes; n < 1 || n > 10 {
					t.Errorf("%d writes, want one per ten seconds", n)
				}
			case container.KindDisk:
				if after.Written-before.Written < 256*kib || after.Read-before.Read < 256*kib {
					t.Error("no block written to storage and read back")
				}
			}
		})
	}
}

func TestLifetime(t *testing.T) {
	program := testutil.Build(t, "./generator")
	begin := time.Now()
	out, err := exec.Command(program, "load", "--kind=cpu", "--share=0.01", "--lifetime=1s").CombinedOutput()
	if d := time.Since(begin); err != nil || len(out) != 0 || d < time.Second || d > 10*time.Second {
		t.Errorf("exited after %s: %v, %q; want status 0 after 1s and no output", d, err, out)
	}
}

func TestLoadFails(t *testing.T) {
	program := testutil.Build(t, "./generator")
	out, err := exec.Command(program, "load", "--kind=io", "--bytes=4096", "--block=512", "--rate=1", "--lifetime=1m", "--dir=/nowhere").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "/nowhere") {
		t.Errorf("= %v, %q; want an error that names the directory", err, out)
	}
}

func TestValidate(t *testing.T) {
	good := []load.Params{
		{Kind: container.KindCPU, Share: 1},
		{Kind: container.KindRAM, Bytes: 1, Rate: 0.1},
		{Kind: container.KindIO, Bytes: 512, Block: 512, Rate: 1},
		{Kind: container.KindDisk, Bytes: 8192, Block: 4096, Rate: 1},
	}
	for _, p := range good {
		if err := p.Validate(); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
	bad := []load.Params{
		{},
		{Kind: "gpu", Bytes: 1, Rate: 1},
		{Kind: container.KindCPU},
		{Kind: container.KindCPU, Share: 1.1},
		{Kind: container.KindRAM, Bytes: 0, Rate: 1},
		{Kind: container.KindRAM, Bytes: 1 << 40, Rate: 1},
		{Kind: container.KindRAM, Bytes: 1},
		{Kind: container.KindIO, Bytes: 512, Block: 1024, Rate: 1},
		{Kind: container.KindIO, Bytes: 512, Rate: 1},
		{Kind: container.KindDisk, Bytes: 8192, Block: 512, Rate: 1},
	}
	for _, p := range bad {
		if p.Validate() == nil {
			t.Errorf("%+v: accepted", p)
		}
	}
}

// Two loads in one directory use different files.
func TestTwoLoadsInOneDirectory(t *testing.T) {
	program := testutil.Build(t, "./generator")
	dir := storageDir(t)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			out, err := exec.Command(program, "load", "--kind=disk", "--bytes=1048576", "--block=262144", "--rate=20", "--lifetime=1s",
				"--dir="+dir).CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	both.Wait()
}
