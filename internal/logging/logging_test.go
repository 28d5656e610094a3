package logging

import (
	"bytes"
	"strings"
	"testing"

	"github.com/go-kit/log/level"
)

func TestLevelFilters(t *testing.T) {
	var out bytes.Buffer
	logger, err := New(&out, Config{Level: "warn", Format: "logfmt"})
	if err != nil {
		t.Fatal(err)
	}
	level.Info(logger).Log("msg", "quiet")
	level.Warn(logger).Log("msg", "loud")
	if got := out.String(); strings.Contains(got, "quiet") || !strings.Contains(got, "level=warn") || !strings.Contains(got, "msg=loud") {
		t.Errorf("log = %q", got)
	}
}

func TestInvalidConfig(t *testing.T) {
	for _, c := range []Config{{"info", "xml"}, {"noisy", "json"}} {
		if _, err := New(&bytes.Buffer{}, c); err == nil {
			t.Errorf("New(%+v) accepted", c)
		}
	}
}

func TestSlogKeepsLevelAndAttributes(t *testing.T) {
	var out bytes.Buffer
	logger, err := New(&out, Config{Level: "info", Format: "logfmt"})
	if err != nil {
		t.Fatal(err)
	}
	s := Slog(logger).With("part", "web").WithGroup("tls")
	s.Debug("hidden")
	s.Error("refused", "version", 1.1)
	got := out.String()
	for _, want := range []string{"level=error", "msg=refused", "part=web", "tls.version=1.1"} {
		if !strings.Contains(got, want) {
			t.Errorf("log %q lacks %q", got, want)
		}
	}
	if strings.Contains(got, "hidden") {
		t.Errorf("log %q has a message below its level", got)
	}
}
