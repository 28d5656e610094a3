package cgroup

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"syscall"

	"github.com/estiba/estiba/exporter/source/scan"
)

// listing lists directories of /proc with numeric names: processes, descriptors.
type listing struct {
	pids []int
	buf  []byte
}

// read lists the PIDs in the kernel's order. The slice is valid until the next call.
func (l *listing) read(proc string) ([]int, error) {
	l.pids = l.pids[:0]
	err := l.each(proc, func(name []byte) {
		if pid, ok := scan.Uint(name); ok && pid > 0 && pid <= maxPID {
			l.pids = append(l.pids, int(pid))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	return l.pids, nil
}

// count returns the number of entries with numeric names.
func (l *listing) count(folder string) (n uint64, err error) {
	err = l.each(folder, func(name []byte) {
		if _, ok := scan.Uint(name); ok {
			n++
		}
	})
	return n, err
}

// each calls take with the name of each entry.
func (l *listing) each(folder string, take func(name []byte)) error {
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer dir.Close()
	if l.buf == nil {
		l.buf = make([]byte, 32<<10)
	}
	for {
		n, err := syscall.ReadDirent(int(dir.Fd()), l.buf)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("getdents", err)
		}
		if n <= 0 {
			return nil
		}
		entries(l.buf[:n], take)
	}
}

// entries parses records of getdents64(2): 8 bytes inode, 8 offset, 2 length, 1 type,
// and the zero-terminated name.
func entries(b []byte, take func(name []byte)) {
	const name = 19
	for len(b) > name {
		length := int(binary.NativeEndian.Uint16(b[16:]))
		if length <= name || length > len(b) {
			return
		}
		text, _, _ := bytes.Cut(b[name:length], []byte{0})
		b = b[length:]
		take(text)
	}
}

// maxPID is above the largest PID (proc_sys_kernel(5), pid_max).
const maxPID = 1 << 30
