package cgroup

import (
	"errors"
	"os"
	"syscall"
)

const (
	halfPage = 2048
	maxFile  = 1 << 20 // no file of a process or a cgroup that is read here comes near

	// maxKept is how many files stay open between snapshots. An open one is
	// read by one system call instead of three, at a third of the cost; the
	// kernel keeps about 4.5 KB for it (struct file and the page of a seq_file).
	// This is enough for about 1,000 containers, and at most 72 MB.
	maxKept = 16384
)

// file is one that is read at each snapshot and may stay open in between. A
// descriptor follows the process or cgroup that it was opened for, not the
// path: once that has ended the kernel answers ESRCH or ENODEV, even if there
// is a new one of the same name.
type file struct {
	path string
	fd   int // 0: not open
}

// reader reads small files into one buffer that it reuses.
type reader struct {
	buf  []byte
	kept int // files that are open now
	max  int // files that may be

	opening func(path string) // for tests: called before each opening
}

var errTooLong = errors.New("file is longer than it can be")

// newReader makes a reader that keeps at most max files open, and leaves half
// of what the process may open to others (getrlimit(2)).
func newReader(max int) reader {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil && limit.Cur/2 < uint64(max) {
		max = int(limit.Cur / 2)
	}
	return reader{buf: make([]byte, 16<<10), max: max}
}

// read returns the content of path; it is valid until the next call.
func (r *reader) read(path string) ([]byte, error) {
	fd, err := r.open(path)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	n := 0
	for {
		m, err := r.at(fd, n)
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		// A seq_file that has more gives at least what fits into half a page,
		// if no record of it is longer.
		if m-n < halfPage {
			return r.buf[:m], nil
		}
		n = m
	}
}

// again returns the content of a file that was perhaps read before, and keeps
// it open if there is room. The file must be one that the kernel writes in one
// piece (seq_file's single_open, or kernfs): its end is where a read comes back
// short.
func (r *reader) again(f *file) ([]byte, error) {
	if f.fd > 0 {
		b, err := r.whole(f)
		if err == nil {
			return b, nil
		}
		r.close(f) // what it was opened for has ended
	}
	fd, err := r.open(f.path)
	if err != nil {
		return nil, err
	}
	f.fd = fd
	r.kept++
	b, err := r.whole(f)
	if err != nil || r.kept > r.max {
		r.close(f)
	}
	return b, err
}

// close closes a file that again kept open.
func (r *reader) close(f *file) {
	if f.fd > 0 {
		syscall.Close(f.fd)
		f.fd = 0
		r.kept--
	}
}

func (r *reader) open(path string) (int, error) {
	if r.opening != nil {
		r.opening(path)
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// whole reads an open file from its beginning.
func (r *reader) whole(f *file) ([]byte, error) {
	n := 0
	for {
		m, err := r.at(f.fd, n)
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: f.path, Err: err}
		}
		if m < len(r.buf) {
			return r.buf[:m], nil
		}
		n = m
	}
}

// at reads more into buf behind the first n bytes and tells how many there are
// then.
func (r *reader) at(fd, n int) (int, error) {
	if n == len(r.buf) {
		if n >= maxFile {
			return n, errTooLong
		}
		r.buf = append(r.buf, make([]byte, len(r.buf))...)
	}
	for {
		m, err := syscall.Pread(fd, r.buf[n:], int64(n))
		if err != syscall.EINTR {
			return n + max(m, 0), err
		}
	}
}

// gone tells whether err says that the process or cgroup has just ended.
func gone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.ENODEV)
}
