package kmod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/estiba/estiba/exporter/source"
)

// MaxDocument is the size up to which a document is read, in bytes: about
// three times what 10,000 containers take.
const MaxDocument = 32 << 20

// Source reads the module's file.
type Source struct {
	path string
	max  int

	mu     sync.Mutex
	parser *Parser
	buf    []byte
}

// New makes a source that reads path, usually /proc/estiba.
func New(path string) *Source {
	return &Source{path: path, max: MaxDocument, parser: NewParser()}
}

// Name is source.Kmod.
func (s *Source) Name() string { return source.Kmod }

// Present tells whether the module's file is there, readable or not.
func (s *Source) Present() bool {
	_, err := os.Stat(s.path)
	return err == nil
}

// Snapshot reads and parses one document. A file that is not there gives
// source.ErrAbsent, one that may not be opened source.ErrRefused.
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
		return nil, fmt.Errorf("document in %s: %w", s.path, err)
	}
	return snap, nil
}

func (s *Source) read() error {
	f, err := os.Open(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w: the kernel module is not loaded", s.path, source.ErrAbsent)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: %w: run with the host's PID namespace, as a user that the module lets read: %w", s.path, source.ErrRefused, err)
	case err != nil:
		return fmt.Errorf("opening the module's document: %w", err)
	}
	defer f.Close()
	s.buf = s.buf[:0]
	for {
		if len(s.buf) == cap(s.buf) {
			s.buf = append(s.buf, 0)[:len(s.buf)] // grows by the runtime's rule
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
