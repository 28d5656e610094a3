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

// idleSource is a program that does nothing until SIGTERM; with a duration as argument it
// wakes up and writes a byte at that interval. It handles SIGTERM, because the kernel drops
// unhandled signals to an init process.
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

// hungrySource is a program that runs a child that allocates memory until the OOM killer
// kills it, again and again, and appends to a file each time.
const hungrySource = `package main

import (
	"os"
	"os/exec"
	"time"
)

func main() {
	if len(os.Args) > 1 {
		// The OOM killer must choose this process, not its parent.
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

// livesSource is a program that exits with a status or becomes unhealthy after a while, or
// uses up a resource.
const livesSource = `package main

import (
	"os"
	"strconv"
	"time"
)

func main() {
	after := func(text string) {
		d, err := time.ParseDuration(text)
		if err != nil {
			panic(err)
		}
		time.Sleep(d)
	}
	switch os.Args[1] {
	case "exit": // status, after
		after(os.Args[3])
		status, err := strconv.Atoi(os.Args[2])
		if err != nil {
			panic(err)
		}
		os.Exit(status)
	case "sicken": // after
		after(os.Args[2])
		if err := os.WriteFile("/sick", nil, 0o644); err != nil {
			panic(err)
		}
		time.Sleep(time.Hour)
	case "check":
		if _, err := os.Stat("/sick"); err == nil {
			os.Exit(1)
		}
	case "fill": // a file with so many MiB
		size, err := strconv.Atoi(os.Args[3])
		if err != nil {
			panic(err)
		}
		f, err := os.Create(os.Args[2])
		if err != nil {
			panic(err)
		}
		for range size {
			if _, err := f.Write(make([]byte, 1<<20)); err != nil {
				panic(err)
			}
		}
		time.Sleep(time.Hour)
	case "burn": // uses one core
		for {
		}
	}
}
`

// LivesImage creates the image ref, whose containers exit with a status ("exit", status,
// after), become unhealthy ("sicken", after; check with "/program check"), use one core
// ("burn"), or fill a file ("fill", path, MiB). It is removed after the test.
func LivesImage(t *testing.T, c *dockerclient.Client, ref string) {
	t.Helper()
	ProgramImage(t, c, ref, livesSource)
}

// IdleImage creates the image ref, whose containers do nothing, with the image label
// made.by=test. It is removed after the test.
func IdleImage(t *testing.T, c *dockerclient.Client, ref string) {
	t.Helper()
	ProgramImage(t, c, ref, idleSource)
}

// HungryImage creates the image ref, whose containers, if their memory is limited, have an
// OOM kill every ten seconds and write another MiB to their writable layer each time. It
// is removed after the test.
func HungryImage(t *testing.T, c *dockerclient.Client, ref string) {
	t.Helper()
	ProgramImage(t, c, ref, hungrySource)
}

// ProgramImage creates the image ref of one program, /program, from its Go source. It is
// removed after the test.
func ProgramImage(t *testing.T, c *dockerclient.Client, ref, source string) {
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
