package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// loadModule builds and loads the kernel module where the kernel takes one.
// Where it does not, the exporter uses BPF, or reads /proc and the cgroups, so
// nothing here is an error.
func (s *system) loadModule(ctx context.Context) error {
	const without = "without the kernel module (%s): the exporter uses BPF, or reads /proc and the cgroups"
	if _, err := os.Stat("/proc/estiba"); err == nil {
		s.out.line("the kernel module is loaded already: it is used, and left alone at the end")
		return nil
	}
	if !s.options.module {
		s.out.line(without, "not wanted")
		return nil
	}
	if _, err := os.Stat("/proc/modules"); err != nil {
		s.out.line(without, "this kernel takes no modules")
		return nil
	}
	headers := "/lib/modules/" + kernelRelease() + "/build"
	if _, err := os.Stat(headers); err != nil {
		s.installHeaders(ctx)
		if _, err := os.Stat(headers); err != nil {
			s.out.line(without, "no headers for this kernel at "+headers)
			return ctx.Err()
		}
	}
	source := filepath.Join(s.dirs.root, "kmod")
	if err := s.step(ctx, "building the kernel module", "build-kmod", nil, "make", "-C", source); err != nil {
		s.out.line("%v", err)
		s.out.line(without, "it could not be built")
		return ctx.Err()
	}
	if out, err := exec.CommandContext(ctx, "insmod", filepath.Join(source, "estiba.ko")).CombinedOutput(); err != nil {
		// insmod says why; where there is no insmod, only err does.
		s.out.line(without, strings.TrimSpace(string(out)+" "+err.Error()))
		return ctx.Err()
	}
	s.out.line("kernel module estiba.ko loaded: cat /proc/estiba")
	s.onDown(func() {
		if out, err := exec.Command("rmmod", "estiba").CombinedOutput(); err != nil {
			s.out.line("rmmod estiba: %s", strings.TrimSpace(string(out)))
			return
		}
		s.out.line("kernel module unloaded")
	})
	return nil
}

// installHeaders tries to get this kernel's headers from the distribution.
func (s *system) installHeaders(ctx context.Context) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := s.aptInstall(ctx, "installing this kernel's headers", "apt-headers", "linux-headers-"+kernelRelease(), "gcc"); err != nil {
		s.out.line("this kernel's headers cannot be installed (the log is in %s)", s.dirs.relative(s.dirs.logs))
	}
}
