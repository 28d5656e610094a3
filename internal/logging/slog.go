package logging

import (
	"context"
	"log/slog"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// Slog returns a log/slog logger that writes to logger, for libraries that use slog
// (exporter-toolkit).
func Slog(logger log.Logger) *slog.Logger { return slog.New(handler{logger: logger}) }

type handler struct {
	logger log.Logger
	group  string // prefix of keys, with a trailing dot
}

// Enabled returns true: the go-kit logger filters by level.
func (h handler) Enabled(context.Context, slog.Level) bool { return true }

func (h handler) Handle(_ context.Context, r slog.Record) error {
	kv := make([]any, 0, 2+2*r.NumAttrs())
	kv = append(kv, "msg", r.Message)
	r.Attrs(func(a slog.Attr) bool {
		kv = append(kv, h.group+a.Key, a.Value.Resolve().Any())
		return true
	})
	switch {
	case r.Level >= slog.LevelError:
		return level.Error(h.logger).Log(kv...)
	case r.Level >= slog.LevelWarn:
		return level.Warn(h.logger).Log(kv...)
	case r.Level >= slog.LevelInfo:
		return level.Info(h.logger).Log(kv...)
	}
	return level.Debug(h.logger).Log(kv...)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	kv := make([]any, 0, 2*len(attrs))
	for _, a := range attrs {
		kv = append(kv, h.group+a.Key, a.Value.Resolve().Any())
	}
	h.logger = log.With(h.logger, kv...)
	return h
}

func (h handler) WithGroup(name string) slog.Handler {
	if name != "" {
		h.group += name + "."
	}
	return h
}
