package kmod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/estiba/estiba/exporter/source"
)

// MaxDocument is the largest document in bytes. The module lists at most as many
// containers as fit, see TEXT_MAX in kmod/estiba_document.c.
const MaxDocument = 32 << 20

// Source reads the kernel module's document.
type Source struct {
	// WithoutIO is called once, for a document with containers but without I/O: the
	// module requires CAP_SYS_PTRACE for it, as the kernel does for /proc/PID/io. Set
	// it before the first Snapshot.
	WithoutIO func()

	path string
	max  int

	mu     sync.Mutex
	warned bool // WithoutIO was called
	parser *Parser
	buf    []byte
}

// New returns a source that reads path, usually /proc/estiba.
func New(path string) *Source {
	return &Source{path: path, max: MaxDocument, parser: NewParser(), WithoutIO: func() {}}
}

// Name returns source.Kmod.
func (s *Source) Name() string { return source.Kmod }

// Present reports whether the document exists, readable or not.
func (s *Source) Present() bool {
	_, err := os.Stat(s.path)
	return err == nil
}

// Snapshot reads and parses one document. The error is source.ErrAbsent for a missing
// file and source.ErrRefused without access.
func (s *Source) Snapshot(ctx context.Context) (*source.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", s.path, err)
	}
	if err := s.read(); err != nil {
		return nil, err
	}
	snap, err := s.parser.Parse(s.buf)
	if err != nil {
		return nil, fmt.Errorf("parsing %s: %w", s.path, err)
	}
	if !s.warned && len(snap.Containers) > 0 && !slices.ContainsFunc(snap.Containers, hasIO) {
		s.warned = true
		s.WithoutIO()
	}
	return snap, nil
}

func hasIO(c source.Container) bool {
	_, ok := c.Get(source.IOReadBytes)
	return ok
}

func (s *Source) read() error {
	f, err := os.Open(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w: the kernel module is not loaded", s.path, source.ErrAbsent)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: %w: run in the host's PID namespace, as a user with access to the document: %w", s.path, source.ErrRefused, err)
	case err != nil:
		return fmt.Errorf("opening the module's document: %w", err)
	}
	defer f.Close()
	s.buf = s.buf[:0]
	for {
		if len(s.buf) == cap(s.buf) {
			s.buf = append(s.buf, 0)[:len(s.buf)] // grow as append does
		}
		n, err := f.Read(s.buf[len(s.buf):cap(s.buf)])
		s.buf = s.buf[:len(s.buf)+n]
		if len(s.buf) > s.max {
			s.buf = nil
			return fmt.Errorf("%s: %w: more than %d bytes", s.path, source.ErrTooLarge, s.max)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", s.path, err)
		}
	}
}
