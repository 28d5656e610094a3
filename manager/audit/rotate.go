package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// aside is the temporary name of the full file during a rotation.
func (l *Log) aside() string { return l.path + ".rotating" }

func (l *Log) rotated(i int) string { return l.path + "." + strconv.Itoa(i) }

// files are the names of the audit log's files, oldest first.
func (l *Log) files() []string {
	var list []string
	for i := l.keep; i >= 1; i-- {
		list = append(list, l.rotated(i))
	}
	return append(list, l.aside(), l.path)
}

// rotate begins a new file. The full file is renamed first, since that can fail
// permanently: it may be a mount point, or append-only. Then nothing has changed and
// the full file continues.
func (l *Log) rotate() error {
	if err := l.settle(); err != nil {
		return err
	}
	info, err := l.file.Stat()
	if err != nil {
		return fmt.Errorf("rotating the audit file: %w", err)
	}
	if err := os.Rename(l.path, l.aside()); err != nil {
		return fmt.Errorf("rotating the audit file: %w", err)
	}
	full := l.file
	if err := l.reopen(); err != nil {
		return errors.Join(fmt.Errorf("rotating the audit file: %w", err), os.Rename(l.aside(), l.path))
	}
	full.Close()
	return errors.Join(l.file.Chmod(info.Mode().Perm()), l.settle())
}

// settle renames the file that was put aside to file.1, file.1 to file.2, and so on up
// to the first free number. The last one is only replaced if none is free. The next
// call completes an interrupted rotation, and no call moves a file without need.
func (l *Log) settle() error {
	info, err := os.Lstat(l.aside())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil && !info.Mode().IsRegular() {
		err = notRegular(l.aside())
	}
	if err != nil {
		return fmt.Errorf("rotating the audit file: %w", err)
	}
	free := 1
	for ; free < l.keep; free++ {
		if _, err := os.Lstat(l.rotated(free)); errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	for ; free > 1; free-- {
		if err := os.Rename(l.rotated(free-1), l.rotated(free)); err != nil {
			return fmt.Errorf("rotating the audit file: %w", err)
		}
	}
	if err := os.Rename(l.aside(), l.rotated(1)); err != nil {
		return fmt.Errorf("rotating the audit file: %w", err)
	}
	return syncDir(filepath.Dir(l.path))
}

// RotationError is why the last rotation failed; nil if it succeeded. Until then the
// full file continues: nothing is lost.
func (l *Log) RotationError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unrotated
}
