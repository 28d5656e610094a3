package source

import (
	"context"
	"errors"
)

// What can go wrong with a source. Each error of a Source wraps one of these
// or a context's error; anything else is an ordinary read error.
var (
	ErrAbsent      = errors.New("not there")
	ErrRefused     = errors.New("refused")
	ErrMalformed   = errors.New("malformed")
	ErrCut         = errors.New("cut short")
	ErrTooLarge    = errors.New("too large")
	ErrUnsupported = errors.New("unsupported schema")
)

// Reason is the closed list of what failed, as it stands in the label
// `reason` and in the log.
type Reason string

// The reasons.
const (
	ReasonAbsent      Reason = "absent"
	ReasonRefused     Reason = "refused"
	ReasonMalformed   Reason = "malformed"
	ReasonCut         Reason = "cut"
	ReasonTooLarge    Reason = "too_large"
	ReasonUnsupported Reason = "unsupported"
	ReasonTimeout     Reason = "timeout"
	ReasonRead        Reason = "read"
)

// Reasons lists them all.
func Reasons() []Reason {
	return []Reason{ReasonAbsent, ReasonRefused, ReasonMalformed, ReasonCut, ReasonTooLarge,
		ReasonUnsupported, ReasonTimeout, ReasonRead}
}

// ReasonOf tells which reason err stands for.
func ReasonOf(err error) Reason {
	switch {
	case errors.Is(err, ErrAbsent):
		return ReasonAbsent
	case errors.Is(err, ErrRefused):
		return ReasonRefused
	case errors.Is(err, ErrCut):
		return ReasonCut
	case errors.Is(err, ErrMalformed):
		return ReasonMalformed
	case errors.Is(err, ErrTooLarge):
		return ReasonTooLarge
	case errors.Is(err, ErrUnsupported):
		return ReasonUnsupported
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return ReasonTimeout
	}
	return ReasonRead
}

// Failure is an error together with the source it came from.
type Failure struct {
	Source string
	Err    error
}

func (f *Failure) Error() string { return "source " + f.Source + ": " + f.Err.Error() }

// Unwrap gives the source's own error.
func (f *Failure) Unwrap() error { return f.Err }
