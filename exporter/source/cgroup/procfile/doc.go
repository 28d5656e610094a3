// Package procfile parses files in /proc: pure functions on bytes.
//
// Each function parses only the values in use. A line with such a value that is not
// parsable is reported, and the value is unknown, not zero.
package procfile

import "errors"

// ErrFormat is wrapped by the errors of this package: the content does not match the
// manual page of the file.
var ErrFormat = errors.New("unknown format")
