// Command socketproxy lets an allowlist of HTTP requests through to a Docker
// Engine's socket. It stands in for wollomatic/socket-proxy in
// docker-compose.yml where that image cannot be had, and takes the flags of
// its that are used there. Installed under the name healthcheck it asks the
// proxy in the same container whether it is well.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// healthAddress is where the proxy reports its health: inside its container only.
const healthAddress = "127.0.0.1:55555"

const (
	readHeaderTimeout = 5 * time.Second
	dialTimeout       = 5 * time.Second
	stopGrace         = 10 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	var err error
	if filepath.Base(os.Args[0]) == "healthcheck" {
		err = askHealth(ctx)
	} else {
		err = run(ctx, os.Args[1:], slog.New(slog.NewTextHandler(os.Stderr, nil)))
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "socketproxy:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends or, with -stoponwatchdog, the Engine is gone.
func run(ctx context.Context, args []string, logger *slog.Logger) error {
	c, err := parse(args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	servers := []*http.Server{{Addr: c.listen, Handler: newFilter(c, logger), ReadHeaderTimeout: readHeaderTimeout}}
	if c.health {
		servers = append(servers, &http.Server{Addr: healthAddress, Handler: healthHandler(c.socket), ReadHeaderTimeout: readHeaderTimeout})
	}
	for _, s := range servers {
		go func() {
			if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
				cancel(fmt.Errorf("serving %s: %w", s.Addr, err))
			}
		}()
	}
	if c.watch > 0 {
		go watch(ctx, c, logger, cancel)
	}
	logger.Info("proxy starts", "listen", c.listen, "socket", c.socket, "from", c.from)
	<-ctx.Done()
	grace, done := context.WithTimeout(context.Background(), stopGrace)
	defer done()
	for _, s := range servers {
		if s.Shutdown(grace) != nil { // an event stream never ends by itself
			s.Close()
		}
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// watch asks for the socket every interval and, if set so, ends the program
// when it is gone: a restarted container mounts the Engine's new one.
func watch(ctx context.Context, c config, logger *slog.Logger, end context.CancelCauseFunc) {
	ticker := time.NewTicker(c.watch)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := dial(ctx, c.socket); err != nil {
			logger.Warn("the engine's socket does not answer", "socket", c.socket, "err", err)
			if c.stopOnWatch {
				end(fmt.Errorf("the engine's socket %s does not answer: %w", c.socket, err))
				return
			}
		}
	}
}

// dial reports whether somebody listens on the socket.
func dial(ctx context.Context, socket string) error {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	return conn.Close()
}

func healthHandler(socket string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		if err := dial(r.Context(), socket); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	return mux
}

func askHealth(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	url := "http://" + healthAddress + "/health"
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return fmt.Errorf("asking %s: %w", url, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking %s: %w", url, err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return nil
}
