package source

import (
	"context"
	"errors"
)

// Auto uses the module, and the other source only if the module is not loaded. A loaded
// module that denies access or writes an invalid document is an error: a fallback would
// hide the fault.
type Auto struct {
	Module Source
	Other  Source
}

// Name returns the name of the preferred source.
func (a Auto) Name() string { return a.Module.Name() }

// Snapshot collects from the first source that exists.
func (a Auto) Snapshot(ctx context.Context) (*Snapshot, error) {
	s, err := a.Module.Snapshot(ctx)
	if err == nil {
		return s, nil
	}
	if !errors.Is(err, ErrAbsent) {
		return nil, &Failure{Source: a.Module.Name(), Err: err}
	}
	if s, err = a.Other.Snapshot(ctx); err != nil {
		return nil, &Failure{Source: a.Other.Name(), Err: err}
	}
	return s, nil
}
