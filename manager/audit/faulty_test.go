package audit

import (
	"os"

	"golang.org/x/sys/unix"
)

// disk opens real files with failing calls.
type disk struct {
	write, sync, truncate int // number of calls of each that fail from now on
}

func (d *disk) open(path string) (file, error) {
	f, err := openAppend(path)
	if err != nil {
		return nil, err
	}
	return faulty{f.(*os.File), d}, nil
}

func fails(n *int) bool {
	if *n == 0 {
		return false
	}
	*n--
	return true
}

type faulty struct {
	*os.File
	d *disk
}

// Write writes half of the data before it fails.
func (f faulty) Write(p []byte) (int, error) {
	if fails(&f.d.write) {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, unix.EIO
	}
	return f.File.Write(p)
}

// Sync fails after writing everything, as the next read finds it.
func (f faulty) Sync() error {
	if fails(&f.d.sync) {
		return unix.EIO
	}
	return f.File.Sync()
}

func (f faulty) Truncate(size int64) error {
	if fails(&f.d.truncate) {
		return unix.EIO
	}
	return f.File.Truncate(size)
}
