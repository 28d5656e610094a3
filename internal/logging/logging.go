// Package logging creates the go-kit logger of all programs, with an adapter for
// libraries that use log/slog.
package logging

import (
	"fmt"
	"io"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// Config is the configuration of a logger. The zero value is invalid; see Flags.
type Config struct {
	Level  string // debug, info, warn or error
	Format string // logfmt or json
}

// Flags registers --log.level and --log.format and returns the Config that they set.
func Flags(app *kingpin.Application) *Config {
	c := &Config{}
	app.Flag("log.level", "Only log messages with this severity or above: debug, info, warn, error.").
		Default("info").EnumVar(&c.Level, "debug", "info", "warn", "error")
	app.Flag("log.format", "Output format of log messages: logfmt or json.").
		Default("logfmt").EnumVar(&c.Format, "logfmt", "json")
	return c
}

// New returns a logger that writes one message per line to w, starting with the keys ts
// (UTC) and caller. It is safe for concurrent use.
func New(w io.Writer, c Config) (log.Logger, error) {
	w = log.NewSyncWriter(w)
	var logger log.Logger
	switch c.Format {
	case "logfmt":
		logger = log.NewLogfmtLogger(w)
	case "json":
		logger = log.NewJSONLogger(w)
	default:
		return nil, fmt.Errorf("unknown log format %q: expected logfmt or json", c.Format)
	}
	lvl, err := level.Parse(c.Level)
	if err != nil {
		return nil, fmt.Errorf("unknown log level %q: expected debug, info, warn or error", c.Level)
	}
	logger = level.NewFilter(logger, level.Allow(lvl))
	return log.With(logger, "ts", log.DefaultTimestampUTC, "caller", log.DefaultCaller), nil
}
