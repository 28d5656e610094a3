package load

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// scratch creates an unlinked file in dir: its space is freed when the process exits.
func scratch(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "load-")
	if err != nil {
		return nil, fmt.Errorf("creating a file in %s: %w", dir, err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("unlinking %s: %w", f.Name(), err)
	}
	return f, nil
}

// buffer returns memory aligned for O_DIRECT, filled with incompressible bytes.
func buffer(size int64) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("allocating a buffer of %d bytes: %w", size, err)
	}
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b, nil
}
