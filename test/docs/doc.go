// Package docs holds the documents to what the repository is: links, paths,
// commands, flags and defaults. What can be made out of the programs is made
// here, with `go test ./test/docs -update`.
package docs
