// Command generator creates stress containers for demonstrations and tests. README.md
// describes them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-kit/log/level"

	"github.com/estiba/estiba/generator/fleet"
	"github.com/estiba/estiba/generator/load"
	"github.com/estiba/estiba/generator/lock"
	"github.com/estiba/estiba/internal/logging"
)

// Exit codes. exitLocked is EX_TEMPFAIL of sysexits.h.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitLocked = 75
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(execute(ctx, os.Args[1:]))
}

func execute(ctx context.Context, args []string) int {
	s, err := parse(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "generator: %v\n", err)
		return exitUsage
	}
	switch s.Command {
	case "load":
		return runLoad(ctx, s)
	case "healthcheck":
		if err := healthy(s.LockFile, s.MaxAge, time.Now()); err != nil {
			fmt.Fprintf(os.Stderr, "generator: %v\n", err)
			return exitFailed
		}
		return exitOK
	}
	logger, err := logging.New(os.Stderr, *s.Log)
	if err != nil {
		fmt.Fprintf(os.Stderr, "generator: %v\n", err)
		return exitUsage
	}
	a, err := newApp(s, logger)
	if err == nil {
		defer a.docker.Close()
		switch s.Command {
		case "run":
			err = a.run(ctx)
		case "once":
			err = a.once(ctx)
		default:
			err = a.clean(ctx)
		}
	}
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, lock.ErrHeld):
		level.Warn(logger).Log("msg", "generator is already running", "err", err)
		return exitLocked
	case errors.Is(err, fleet.ErrPartial):
		level.Error(logger).Log("msg", s.Command+" incomplete", "err", err)
		return exitFailed
	}
	level.Error(logger).Log("msg", s.Command+" failed", "err", err)
	return exitFailed
}

// runLoad is the program of a container. It exits on a signal even while a step waits
// for storage.
func runLoad(ctx context.Context, s settings) int {
	ctx, cancel := context.WithTimeout(ctx, s.Lifetime)
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- load.Run(ctx, s.Load, s.LoadDir) }()
	select {
	case <-ctx.Done():
		return exitOK
	case err := <-failed:
		if err != nil && ctx.Err() == nil {
			fmt.Fprintf(os.Stderr, "generator: %v\n", err)
			return exitFailed
		}
		return exitOK
	}
}
