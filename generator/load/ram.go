package load

import (
	"context"
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

const pageSize = 4096 // divides the page size of every supported architecture

// runRAM fills its memory once and then changes a word of every page, Rate times a
// second, so that the pages stay active and are not swapped out.
func runRAM(ctx context.Context, p Params, code *codePages) error {
	// Outside the Go heap and its garbage collector.
	mem, err := unix.Mmap(-1, 0, int(p.Bytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("load ram: allocating %d bytes: %w", p.Bytes, err)
	}
	defer unix.Munmap(mem)
	pass := uint64(0)
	return every(ctx, perSecond(p.Rate), code, func() error {
		pass++
		for at := 0; at+8 <= len(mem); at += pageSize {
			// All pages differ, so none can be merged or compressed away.
			binary.LittleEndian.PutUint64(mem[at:], uint64(at)<<20+pass)
			if at%(pageSize<<10) == 0 && ctx.Err() != nil {
				return nil
			}
		}
		return nil
	})
}
