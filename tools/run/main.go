// Command run brings the whole of Estiba up on this machine, natively: it
// installs and builds what is missing, starts every part on loopback, shows
// what the manager does, and stops exactly what it started.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	out := newPrinter(os.Stdout, time.Now())
	options, err := parseOptions(os.Args[1:], os.Getenv)
	if errors.Is(err, flag.ErrHelp) {
		printUsage()
		return
	}
	if err == nil {
		err = run(out, options)
	}
	if err != nil {
		out.line("FAILED: %v", err)
		os.Exit(1)
	}
}

func run(out *printer, options options) error {
	root, err := repositoryRoot()
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("make run has to be root, to install Docker if there is none and to read every process's I/O: type sudo make run")
	}
	// The programs are to use the Docker Engine that is installed or started here.
	os.Unsetenv("DOCKER_HOST")
	// make killed outright must not leave us, and so the containers, behind.
	if err := stopWithParent(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()

	dirs := newDirs(root, options.state)
	if err := dirs.create(); err != nil {
		return err
	}
	state, err := takeLock(ctx, dirs, out)
	if err != nil {
		return err
	}
	defer state.release()
	state.stopLeftovers(out)

	spawner := newSpawner(state)
	system := &system{dirs: dirs, out: out, spawner: spawner, options: options, ports: options.ports, engine: newEngine(options.docker)}
	err = system.up(ctx)
	if err == nil {
		err = system.watch(ctx)
	}
	interrupted := ctx.Err() != nil
	stop() // a second Ctrl-C ends us at once; what we started dies with us
	state.markStopping()
	out.blank()
	out.line("stopping what was started here")
	system.down()
	system.own()
	if interrupted {
		out.line("stopped. History stays in %s for the next run.", dirs.relative(dirs.state))
		return nil
	}
	return err
}

// dirs are the places that a run writes to.
type dirs struct {
	root  string // the repository
	bin   string // built programs
	state string // history, record, logs, locks
	logs  string
}

func newDirs(root, state string) dirs {
	if state == "" {
		state = filepath.Join(root, ".run")
	}
	return dirs{root: root, bin: filepath.Join(root, "build", "bin"), state: state, logs: filepath.Join(state, "logs")}
}

func (d dirs) create() error {
	for _, dir := range []string{d.bin, d.state, d.logs} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making a place for the run: %w", err)
		}
	}
	return nil
}

// relative is path as a person in the repository would type it.
func (d dirs) relative(path string) string {
	if r, err := filepath.Rel(d.root, path); err == nil && filepath.IsLocal(r) {
		return r
	}
	return path
}

// repositoryRoot is the nearest folder upwards with the product's Makefile
// and the policies, so that the program works from any folder inside.
func repositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "manager", "policies")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("%s is not inside Estiba's repository", dir)
		}
	}
}
