package load

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/estiba/estiba/internal/container"
)

// Run does the work of p until ctx ends, which is no error. dir is a writable
// folder on storage, used by io and disk; their file has no name and is gone
// with the process, however that ends.
//
// Run is made for a process that does nothing else: it switches the garbage
// collector off and uses one core at most.
func Run(ctx context.Context, p Params, dir string) error {
	if err := p.Validate(); err != nil {
		return err
	}
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1) // the loads allocate nothing as they go
	debug.FreeOSMemory()   // what starting the program took
	// Else the kernel may make a huge page of a sparse part of the heap, and a
	// load that sleeps grows by 2 MiB at a time (PR_SET_THP_DISABLE, prctl(2)).
	if err := unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("switching huge pages off: %w", err)
	}
	q, err := newQuiet()
	if err != nil {
		return err
	}
	switch p.Kind {
	case container.KindCPU:
		return runCPU(ctx, p, q)
	case container.KindRAM:
		return runRAM(ctx, p, q)
	case container.KindIO:
		return runIO(ctx, p, q, dir)
	default:
		return runDisk(ctx, p, q, dir)
	}
}
