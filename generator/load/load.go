package load

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/estiba/estiba/internal/container"
)

// Run does the work of p until ctx ends, and then returns nil. dir is a writable
// directory on storage, for the file of io and disk, which is unlinked at once.
//
// The process must do nothing else: Run disables the garbage collector and limits the
// process to one core.
func Run(ctx context.Context, p Params, dir string) error {
	if err := p.Validate(); err != nil {
		return err
	}
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1) // the loads do not allocate while they run
	debug.FreeOSMemory()   // from program start
	// Otherwise the kernel may collapse a sparse part of the heap into a huge page, and
	// a sleeping load grows by 2 MiB at a time (PR_SET_THP_DISABLE, prctl(2)).
	if err := unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("disabling huge pages: %w", err)
	}
	code, err := findCodePages()
	if err != nil {
		return err
	}
	switch p.Kind {
	case container.KindCPU:
		return runCPU(ctx, p, code)
	case container.KindRAM:
		return runRAM(ctx, p, code)
	case container.KindIO:
		return runIO(ctx, p, code, dir)
	default:
		return runDisk(ctx, p, code, dir)
	}
}
