package cgroup

import (
	"bytes"
	"errors"
	"os"
	"syscall"
)

const (
	maxFile = 1 << 20 // far above any file of a process or a cgroup

	// Files of the host can be longer: /proc/stat has a line for each CPU, and one
	// unused line with a number for each possible interrupt.
	maxLine     = 512
	maxLines    = 8 << 20 // total, after cutting
	maxHostFile = 256 << 20

	// maxKept is the number of files kept open between snapshots. An open file is
	// read by one system call instead of three, at a third of the cost, and takes
	// about 4.5 KB of kernel memory (struct file and the page of a seq_file). This
	// suffices for about 1,000 containers and takes at most 108 MB.
	maxKept = 24576
)

// file is read by each snapshot and may stay open in between. Its descriptor refers
// to a process or cgroup, not to the path: after its end the kernel returns ESRCH or
// ENODEV, even if there is a new one of the same name.
type file struct {
	path   string
	fd     int // 0: closed
	opened int // number of times; a reused fd may be another file
}

// reader reads small files into one buffer that it reuses.
type reader struct {
	buf  []byte
	kept int // open files
	max  int // limit of kept

	opening func(path string) // for tests: called before each opening
}

var errTooLong = errors.New("file too large")

// newReader returns a reader that keeps at most limit files open, and at most half of
// the process's limit (getrlimit(2)).
func newReader(limit int) reader {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil && files.Cur/2 < uint64(limit) {
		limit = int(files.Cur / 2)
	}
	return reader{buf: make([]byte, 16<<10), max: limit}
}

// read returns the content of path, valid until the next call.
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
		if m == n {
			return r.buf[:n], nil
		}
		n = m
	}
}

// lines returns the content of path with each line cut at maxLine, valid until the
// next call.
func (r *reader) lines(path string) ([]byte, error) {
	fd, err := r.open(path)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	kept, begun := 0, 0 // length of the content, and start of its last line
	for at := int64(0); at < maxHostFile; {
		if err := r.grow(kept, maxLines); err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		n, err := pread(fd, r.buf[kept:], at)
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return r.buf[:kept], nil
		}
		at += int64(n)
		for more := r.buf[kept : kept+n]; len(more) > 0; {
			line, ends := more, false
			if i := bytes.IndexByte(more, '\n'); i >= 0 {
				line, ends = more[:i], true
			}
			more = more[len(line):]
			kept += copy(r.buf[kept:], line[:min(len(line), maxLine-(kept-begun))])
			if ends {
				more = more[1:]
				r.buf[kept] = '\n'
				kept++
				begun = kept
			}
		}
	}
	return nil, &os.PathError{Op: "read", Path: path, Err: errTooLong}
}

// again returns the content of a file and keeps it open if the limit allows. The
// kernel must generate the file in one piece (seq_file's single_open, or kernfs): a
// short read is the end.
func (r *reader) again(f *file) ([]byte, error) {
	if f.fd > 0 {
		b, err := r.whole(f)
		if err == nil {
			return b, nil
		}
		r.close(f) // its process or cgroup is gone
	}
	fd, err := r.open(f.path)
	if err != nil {
		return nil, err
	}
	f.fd = fd
	f.opened++
	r.kept++
	b, err := r.whole(f)
	if err != nil || r.kept > r.max {
		r.close(f)
	}
	return b, err
}

// close closes a file kept open by again.
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

// whole reads an open file from the start.
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

// at reads more into buf after the first n bytes and returns the new length.
func (r *reader) at(fd, n int) (int, error) {
	if err := r.grow(n, maxFile); err != nil {
		return n, err
	}
	m, err := pread(fd, r.buf[n:], int64(n))
	return n + m, err
}

// grow makes room after the first n bytes of buf, up to most bytes.
func (r *reader) grow(n, most int) error {
	if n < len(r.buf) {
		return nil
	}
	if n >= most {
		return errTooLong
	}
	r.buf = append(r.buf, make([]byte, len(r.buf))...)
	return nil
}

// pread reads once and retries after EINTR.
func pread(fd int, b []byte, at int64) (int, error) {
	for {
		n, err := syscall.Pread(fd, b, at)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// gone reports whether err means that the process or cgroup has just ended.
func gone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.ENODEV)
}

// unsupported reports whether err means that the kernel was booted without the
// feature of a file (PSI, with psi=0).
func unsupported(err error) bool { return errors.Is(err, syscall.EOPNOTSUPP) }
