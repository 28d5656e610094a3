// Package launch tests how a person starts the system: make run's launcher as it is
// (tools/run), with ports of the test's own, on a Docker Engine of the test's own, and the
// scripts before it that find Go and give files back.
package launch
