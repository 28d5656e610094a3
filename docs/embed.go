// Package docs is the documentation, which the manager serves.
package docs

import "embed"

// Pages are the Markdown files of this folder, with the runbooks in runbooks/.
//
//go:embed *.md runbooks/*.md
var Pages embed.FS
