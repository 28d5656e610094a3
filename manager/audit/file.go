package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// file is the part of an open file that the audit log needs.
type file interface {
	io.Writer
	io.ReaderAt
	io.Closer
	Stat() (os.FileInfo, error)
	Sync() error
	Truncate(size int64) error
	Chmod(mode os.FileMode) error
}

// openAppend opens a file of the audit log for appending, and creates it.
func openAppend(path string) (file, error) {
	return openRegular(path, os.O_CREATE|os.O_RDWR|os.O_APPEND)
}

// openRegular opens regular files only. Opening a FIFO could block forever, and opening
// a device can have side effects.
func openRegular(path string, flags int) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, notRegular(path)
	}
	f, err := os.OpenFile(path, flags|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0o640)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notRegular(path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func notRegular(path string) error {
	return &os.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
}

// resolve follows symbolic links at path, also one to a file that does not exist yet.
// Lock and rotated files belong beside the file itself: on the same file system, and
// with one lock for all names of the file.
func resolve(path string) (string, error) {
	for range 40 { // the kernel's limit
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return "", fmt.Errorf("audit directory: %w", err)
		}
		if dir, err = filepath.Abs(dir); err != nil {
			return "", fmt.Errorf("audit directory: %w", err)
		}
		path = filepath.Join(dir, filepath.Base(path))
		target, err := os.Readlink(path)
		if err != nil { // not a link, or missing
			return path, nil
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		path = target
	}
	return "", fmt.Errorf("audit file %s: %w", path, syscall.ELOOP)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("audit directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing the audit directory %s: %w", dir, err)
	}
	return nil
}
