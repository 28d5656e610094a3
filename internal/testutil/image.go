package testutil

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/estiba/estiba/internal/dockerclient"
)

// idleSource is a program that does nothing until it is told to stop. It has
// to ask for SIGTERM: the kernel drops unhandled signals to an init.
const idleSource = `package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
}
`

// IdleImage makes the image ref whose containers do nothing, with the image
// label made.by=test. It goes with the test.
func IdleImage(t *testing.T, c *dockerclient.Client, ref string) {
	t.Helper()
	src := filepath.Join(t.TempDir(), "idle.go")
	if err := os.WriteFile(src, []byte(idleSource), 0o644); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(Build(t, src))
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "idle", Mode: 0o755, Size: int64(len(program))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(program); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.ImportImage(context.Background(), &layer, ref, []string{`ENTRYPOINT ["/idle"]`, "LABEL made.by=test"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.RemoveImage(context.Background(), ref) })
}
