package load

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// runDisk writes a large block to storage and reads it back from there, Rate
// times a second, round and round a file of bounded size.
func runDisk(ctx context.Context, p Params, q *quiet, dir string) error {
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
	t := &through{f: f, direct: setDirect(f, true) == nil}
	blocks := p.Bytes / p.Block
	step := int64(0)
	return every(ctx, perSecond(p.Rate), q, func() error {
		at := step % blocks * p.Block
		step++
		block[0] = byte(step)
		if err := t.write(block, at); err != nil {
			return fmt.Errorf("load disk: writing: %w", err)
		}
		if _, err := f.ReadAt(block, at); err != nil {
			return fmt.Errorf("load disk: reading: %w", err)
		}
		return nil
	})
}

// through writes past the page cache: with O_DIRECT, and on a file system
// that has none by syncing the data and dropping it from the cache.
type through struct {
	f      *os.File
	direct bool
}

func (t *through) write(b []byte, at int64) error {
	_, err := t.f.WriteAt(b, at)
	if t.direct && errors.Is(err, unix.EINVAL) {
		// Accepted as a flag, refused for data (open(2), NOTES).
		if err := setDirect(t.f, false); err != nil {
			return err
		}
		t.direct = false
		_, err = t.f.WriteAt(b, at)
	}
	if err != nil || t.direct {
		return err
	}
	fd := int(t.f.Fd())
	if err := unix.Fdatasync(fd); err != nil {
		return err
	}
	return unix.Fadvise(fd, at, int64(len(b)), unix.FADV_DONTNEED)
}

// setDirect switches O_DIRECT of an open file (fcntl(2), F_SETFL).
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
