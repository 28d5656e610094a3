package source

import (
	"context"
	"errors"
)

// Auto uses the first source that this host has, best first. One that it has and that
// fails (a module that denies access, or writes an invalid document) is an error: a
// fallback would hide the fault.
type Auto []Source

// Name returns the name of the preferred source.
func (a Auto) Name() string { return a[0].Name() }

// Snapshot collects from the first source that exists.
func (a Auto) Snapshot(ctx context.Context) (*Snapshot, error) {
	var last *Failure
	for _, s := range a {
		snap, err := s.Snapshot(ctx)
		if err == nil {
			return snap, nil
		}
		last = &Failure{Source: s.Name(), Err: err}
		if !errors.Is(err, ErrAbsent) {
			break
		}
	}
	return nil, last
}
