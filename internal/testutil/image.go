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

// idleSource is a program that does nothing until it is told to stop; with a
// duration as argument it wakes up that often and writes a byte. It has to ask
// for SIGTERM: the kernel drops unhandled signals to an init.
const idleSource = `package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	var wake <-chan time.Time
	if len(os.Args) > 1 {
		pause, err := time.ParseDuration(os.Args[1])
		if err != nil {
			panic(err)
		}
		wake = time.Tick(pause)
	}
	null, _ := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	for {
		select {
		case <-stop:
			return
		case <-wake:
			null.Write([]byte{0})
		}
	}
}
`

// hungrySource is a program that starts another one, which eats memory until the
// kernel kills it, and then the next. It itself lives on and drops crumbs.
const hungrySource = `package main

import (
	"os"
	"os/exec"
	"time"
)

func main() {
	if len(os.Args) > 1 {
		// This one is to be killed, not who waits for it.
		if err := os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0); err != nil {
			panic(err)
		}
		for eaten := [][]byte{}; ; {
			more := make([]byte, 1<<20)
			for i := 0; i < len(more); i += 4096 {
				more[i] = 1
			}
			eaten = append(eaten, more)
		}
	}
	for n := 0; ; n++ {
		exec.Command("/proc/self/exe", "eat").Run()
		if f, err := os.OpenFile("/crumbs", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err == nil && n < 100 {
			f.Write(make([]byte, 1<<20))
			f.Close()
		}
		time.Sleep(10 * time.Second)
	}
}
`

// IdleImage makes the image ref whose containers do nothing, with the image
// label made.by=test. It goes with the test.
func IdleImage(t *testing.T, c *dockerclient.Client, ref string) {
	t.Helper()
	programImage(t, c, ref, idleSource)
}

// HungryImage makes the image ref whose containers, if their memory is limited, have
// a process killed by the kernel for want of memory every ten seconds, and leave a MiB
// more on their disk each time. It goes with the test.
func HungryImage(t *testing.T, c *dockerclient.Client, ref string) {
	t.Helper()
	programImage(t, c, ref, hungrySource)
}

func programImage(t *testing.T, c *dockerclient.Client, ref, source string) {
	t.Helper()
	src := filepath.Join(t.TempDir(), "program.go")
	if err := os.WriteFile(src, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(Build(t, src))
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "program", Mode: 0o755, Size: int64(len(program))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(program); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.ImportImage(context.Background(), &layer, ref, []string{`ENTRYPOINT ["/program"]`, "LABEL made.by=test"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.RemoveImage(context.Background(), ref) })
}
