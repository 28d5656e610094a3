package load

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// runIO writes a small block, syncs it to storage and reads it back, Rate times a
// second: many operations, few bytes.
func runIO(ctx context.Context, p Params, code *codePages, dir string) error {
	f, err := scratch(dir)
	if err != nil {
		return fmt.Errorf("load io: %w", err)
	}
	defer f.Close()
	block, err := buffer(p.Block)
	if err != nil {
		return fmt.Errorf("load io: %w", err)
	}
	defer unix.Munmap(block)
	// Filled once, so that blocks are then overwritten in place and fdatasync(2) never
	// has to write a new extent.
	blocks := p.Bytes / p.Block
	for n := range blocks {
		if _, err := f.WriteAt(block, n*p.Block); err != nil {
			return fmt.Errorf("load io: filling the file: %w", err)
		}
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("load io: filling the file: %w", err)
	}
	step := int64(0)
	return every(ctx, perSecond(p.Rate), code, func() error {
		at := step % blocks * p.Block
		step++
		block[0] = byte(step)
		if _, err := f.WriteAt(block, at); err != nil {
			return fmt.Errorf("load io: writing: %w", err)
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return fmt.Errorf("load io: syncing: %w", err)
		}
		if _, err := f.ReadAt(block, at); err != nil {
			return fmt.Errorf("load io: reading: %w", err)
		}
		return nil
	})
}
