package bpf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/estiba/estiba/exporter/source/cgroup"
)

// BenchmarkSnapshot compares the source with that of files on real containers: cgroups with
// the names of Docker's and a sleeping process each, whose network is the host's. The floor
// is an iterator that only visits each thread and writes the PIDs of processes.
func BenchmarkSnapshot(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("requires root")
	}
	for _, n := range []int{200, 1000, 10000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			containers(b, n)
			time.Sleep(11 * time.Second) // young ones are looked at more closely
			config := cgroup.Config{ProcFS: "/proc", SysFS: "/sys", CgroupFS: "/sys/fs/cgroup"}
			programs, err := New(config, Events{Absent: func(err error) { b.Fatal(err) }})
			if err != nil {
				b.Fatal(err)
			}
			files, err := cgroup.New(config)
			if err != nil {
				b.Fatal(err)
			}
			r, err := newReader("/proc", "/sys")
			if err != nil {
				b.Fatal(err)
			}
			defer r.iter.Close()
			for _, s := range []*cgroup.Source{programs, files} {
				for range 2 {
					snap, err := s.Snapshot(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					if len(snap.Containers) < n {
						b.Fatalf("%d containers, want %d", len(snap.Containers), n)
					}
				}
				b.Run(s.Name(), func(b *testing.B) {
					perCPU(b, func() error {
						_, err := s.Snapshot(b.Context())
						return err
					})
				})
				s.Release() // each may keep half of the descriptors
			}
			b.Run("pass", func(b *testing.B) {
				perCPU(b, func() error {
					_, err := r.Read()
					return err
				})
			})
			b.Run("floor", func(b *testing.B) { floor(b) })
		})
	}
}

// perCPU runs f and reports the CPU time of each run, the kernel's included.
func perCPU(b *testing.B, f func() error) {
	b.Helper()
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	for b.Loop() {
		if err := f(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((used()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

func floor(b *testing.B) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		b.Fatal(err)
	}
	a := &assembler{layout: layout{spec}}
	end := a.label()
	a.emit(
		asm.LoadMem(asm.R6, asm.R1, 8, asm.DWord), asm.JEq.Imm(asm.R6, 0, end),
		asm.LoadMem(asm.R7, asm.R1, 0, asm.DWord), asm.LoadMem(asm.R7, asm.R7, 0, asm.DWord),
	)
	a.follow(asm.R1, asm.R6, "task_struct", "pid")
	a.follow(asm.R2, asm.R6, "task_struct", "tgid")
	a.emit(asm.JNE.Reg(asm.R1, asm.R2, end))
	a.put(stackRecord, asm.R1)
	a.write(8)
	a.here(end)
	iter, err := a.iterator("estiba_floor")
	if err != nil {
		b.Fatal(err)
	}
	defer iter.Close()
	buf := make([]byte, 64<<10)
	perCPU(b, func() error {
		f, err := iter.Open()
		if err != nil {
			return err
		}
		defer f.Close()
		for {
			if _, err := f.Read(buf); err != nil {
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			}
		}
	})
}

// containers makes n of them until the end of the benchmark.
func containers(b *testing.B, n int) {
	b.Helper()
	roots := []string{"/sys/fs/cgroup"}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil {
		roots = nil
		for _, v1 := range []string{"cpu", "cpuacct", "memory", "blkio"} {
			roots = append(roots, filepath.Join("/sys/fs/cgroup", v1))
		}
	}
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		b.Fatal(err)
	}
	var processes []int
	var dirs []string
	b.Cleanup(func() {
		for _, pid := range processes {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		for _, pid := range processes {
			syscall.Wait4(pid, nil, 0, nil)
		}
		for _, d := range dirs {
			for range 100 {
				if os.Remove(d) == nil {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
	})
	for i := range n {
		// Not os/exec, which keeps a descriptor of each process open.
		pid, err := syscall.ForkExec(sleep, []string{"sleep", "infinity"}, nil)
		if err != nil {
			b.Fatal(err)
		}
		processes = append(processes, pid)
		for _, root := range roots {
			dir := filepath.Join(root, "docker", fmt.Sprintf("%064x", i+1))
			if err := os.MkdirAll(dir, 0o755); err != nil && !strings.Contains(err.Error(), "exists") {
				b.Fatal(err)
			}
			dirs = append(dirs, dir)
			if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
				b.Fatal(err)
			}
		}
	}
}
