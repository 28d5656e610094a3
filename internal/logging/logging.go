// Package logging builds the go-kit logger that all programs of Estiba use,
// and lends it to libraries that want log/slog.
package logging

import (
	"fmt"
	"io"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// Config is how to log. Its zero value is not valid; see Flags.
type Config struct {
	Level  string // debug, info, warn or error
	Format string // logfmt or json
}

// Flags registers --log.level and --log.format on app and returns the Config
// that parsing fills.
func Flags(app *kingpin.Application) *Config {
	c := &Config{}
	app.Flag("log.level", "Only log messages with this severity or above: debug, info, warn, error.").
		Default("info").EnumVar(&c.Level, "debug", "info", "warn", "error")
	app.Flag("log.format", "Output format of log messages: logfmt or json.").
		Default("logfmt").EnumVar(&c.Format, "logfmt", "json")
	return c
}

// New returns a logger that writes to w, one message a line, safe for
// concurrent use, with the keys ts (UTC) and caller first.
func New(w io.Writer, c Config) (log.Logger, error) {
	w = log.NewSyncWriter(w)
	var logger log.Logger
	switch c.Format {
	case "logfmt":
		logger = log.NewLogfmtLogger(w)
	case "json":
		logger = log.NewJSONLogger(w)
	default:
		return nil, fmt.Errorf("unknown log format %q: want logfmt or json", c.Format)
	}
	lvl, err := level.Parse(c.Level)
	if err != nil {
		return nil, fmt.Errorf("unknown log level %q: want debug, info, warn or error", c.Level)
	}
	logger = level.NewFilter(logger, level.Allow(lvl))
	return log.With(logger, "ts", log.DefaultTimestampUTC, "caller", log.DefaultCaller), nil
}
