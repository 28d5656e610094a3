// Package docs compares the documents with the repository: links, paths, commands,
// flags, defaults, figures. With `go test ./test/static/docs -update` it writes the tables
// that are generated from the programs. No test compares sentences.
package docs
