package source

import (
	"context"
	"errors"
)

// Auto asks the module and, only when there is no module, the other source. A
// module that is there and refuses, or writes nonsense, is an error: hiding it
// behind the other source would hide a fault.
type Auto struct {
	Module Source
	Other  Source
}

// Name is that of the preferred source.
func (a Auto) Name() string { return a.Module.Name() }

// Snapshot collects from the first source that is there.
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
