package load

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// runDisk writes a large block to storage and reads it back, Rate times a second,
// wrapping around in a file of bounded size.
func runDisk(ctx context.Context, p Params, code *codePages, dir string) error {
	f, err := scratch(dir)
	if err != nil {
		return fmt.Errorf("load disk: %w", err)
	}
	defer f.Close()
	block, err := buffer(p.Block)
	if err != nil {
		return fmt.Errorf("load disk: %w", err)
	}
	defer unix.Munmap(block)
	w := &directWriter{f: f, direct: setDirect(f, true) == nil}
	blocks := p.Bytes / p.Block
	step := int64(0)
	return every(ctx, perSecond(p.Rate), code, func() error {
		at := step % blocks * p.Block
		step++
		block[0] = byte(step)
		if err := w.write(block, at); err != nil {
			return fmt.Errorf("load disk: writing: %w", err)
		}
		if _, err := f.ReadAt(block, at); err != nil {
			return fmt.Errorf("load disk: reading: %w", err)
		}
		return nil
	})
}

// directWriter bypasses the page cache: with O_DIRECT, or on a file system without it
// by syncing the data and dropping it from the cache.
type directWriter struct {
	f      *os.File
	direct bool
}

func (w *directWriter) write(b []byte, at int64) error {
	_, err := w.f.WriteAt(b, at)
	if w.direct && errors.Is(err, unix.EINVAL) {
		// Some file systems accept the flag and reject the data (open(2), NOTES).
		if err := setDirect(w.f, false); err != nil {
			return err
		}
		w.direct = false
		_, err = w.f.WriteAt(b, at)
	}
	if err != nil || w.direct {
		return err
	}
	fd := int(w.f.Fd())
	if err := unix.Fdatasync(fd); err != nil {
		return err
	}
	return unix.Fadvise(fd, at, int64(len(b)), unix.FADV_DONTNEED)
}

// setDirect sets or clears O_DIRECT of an open file (fcntl(2), F_SETFL).
func setDirect(f *os.File, on bool) error {
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	if flags &^= unix.O_DIRECT; on {
		flags |= unix.O_DIRECT
	}
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETFL, flags)
	return err
}
