package source

import (
	"context"
	"errors"
)

// The errors of a source. Each error of a Source wraps one of these or a context's
// error; any other error is a read error.
var (
	ErrAbsent      = errors.New("not found")
	ErrRefused     = errors.New("access denied")
	ErrMalformed   = errors.New("malformed")
	ErrCut         = errors.New("truncated")
	ErrTooLarge    = errors.New("too large")
	ErrUnsupported = errors.New("unsupported schema")
)

// Reason classifies errors, as the label `reason` and in the log. The list is closed.
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

// The reasons why items are left out of a snapshot, see Snapshot.Skipped.
const (
	ReasonProcess   Reason = "process"          // a process that is not readable or not parsable
	ReasonLine      Reason = "line"             // a line or file; its values are absent
	ReasonRuntime   Reason = "runtime"          // a container of an unsupported runtime
	ReasonNamespace Reason = "cgroup_namespace" // a container's cgroup outside the exporter's namespace
)

// Reasons lists all reasons.
func Reasons() []Reason {
	return []Reason{
		ReasonAbsent, ReasonRefused, ReasonMalformed, ReasonCut, ReasonTooLarge,
		ReasonUnsupported, ReasonTimeout, ReasonRead, ReasonProcess, ReasonLine, ReasonRuntime, ReasonNamespace,
	}
}

// ReasonOf returns the reason of err.
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

// Failure is an error with its source.
type Failure struct {
	Source string
	Err    error
}

func (f *Failure) Error() string { return "source " + f.Source + ": " + f.Err.Error() }

// Unwrap returns the error of the source.
func (f *Failure) Unwrap() error { return f.Err }
