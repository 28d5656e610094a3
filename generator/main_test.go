package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/generator/batch"
	"github.com/estiba/estiba/generator/lock"
	"github.com/estiba/estiba/internal/container"
)

func TestDefaults(t *testing.T) {
	s, err := parse([]string{"run"})
	if err != nil {
		t.Fatal(err)
	}
	if s.Command != "run" || s.Image != "estiba/stress" || s.Batch != 10 || s.Interval != 30*time.Second || s.Max != 60 ||
		s.Lifetime != 10*time.Minute || s.Seed != nil || s.Name != defaultName || !strings.Contains(s.LockFile, defaultName) {
		t.Errorf("parse(run) = %+v", s)
	}
}

func TestFlags(t *testing.T) {
	s, err := parse([]string{
		"once", "--docker.host=tcp://127.0.0.1:1", "--image=x/y", "--batch=3", "--max=4", "--lifetime=20s", "--seed=0",
		"--name=n", "--lock-file=/l", "--log.level=debug", "--log.format=json",
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.Command != "once" || s.DockerHost != "tcp://127.0.0.1:1" || s.Image != "x/y" || s.Batch != 3 || s.Max != 4 || s.Lifetime != 20*time.Second ||
		s.Seed == nil || *s.Seed != 0 || s.Name != "n" || s.LockFile != "/l" || s.Log.Level != "debug" || s.Log.Format != "json" {
		t.Errorf("parse = %+v", s)
	}
}

func TestInvalidCommandLines(t *testing.T) {
	for _, line := range []string{
		"walk", "run --batch=0", "run --max=0", "run --lifetime=0s", "run --lifetime=10ms", "run --interval=0s", "once --interval=30s",
		"run --name=", "run --name=a/b", "run --name=../x", "once --image=", "once --seed=-1", "once --seed=x", "once --log.level=loud", "clean extra",
		"healthcheck --max-age=0s", "healthcheck --batch=1",
		"load --kind=gpu --lifetime=1m", "load --kind=cpu --share=0.1", "load --kind=cpu --lifetime=1m", "load --kind=cpu --share=0.1 --lifetime=0s",
	} {
		if s, err := parse(strings.Fields(line)); err == nil {
			t.Errorf("%q accepted as %+v", line, s)
		}
	}
}

func TestHealthy(t *testing.T) {
	path, now := filepath.Join(t.TempDir(), "lock"), time.Unix(1700000000, 0)
	check := func(want string) {
		t.Helper()
		err := healthy(path, 2*time.Minute, now)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("healthy = %v, want %q", err, want)
		}
	}
	check("no such file")
	held, err := lock.Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	check("no batch created yet")
	for age, want := range map[time.Duration]string{
		0: "", 2 * time.Minute: "", 2*time.Minute + time.Second: "created 2m1s ago, more than 2m0s",
		-time.Hour: "", // the clock was set back
	} {
		if err := held.Mark(now.Add(-age)); err != nil {
			t.Fatal(err)
		}
		check(want)
	}
}

// The container parses the flags of a batch to the same parameters.
func TestLoadFlagsRoundTrip(t *testing.T) {
	for _, i := range batch.New(batch.Seeded(7, 0), 200).Items {
		s, err := parse(append(append([]string{"load"}, i.Params.Args()...), "--lifetime=1m30s", "--dir=/d"))
		if err != nil {
			t.Fatalf("%v: %v", i.Params.Args(), err)
		}
		if s.Load != i.Params || s.Lifetime != 90*time.Second || s.LoadDir != "/d" {
			t.Fatalf("%+v parsed as %+v", i.Params, s)
		}
	}
}

// The crontab starts the generator every 30 s with valid flags.
func TestCrontab(t *testing.T) {
	data, err := os.ReadFile("crontab")
	if err != nil {
		t.Fatal(err)
	}
	var delays []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' || strings.HasPrefix(line, "PATH=") {
			continue
		}
		command, ok := strings.CutPrefix(line, "* * * * * ")
		if !ok {
			t.Fatalf("line %q does not run every minute", line)
		}
		before, call, ok := strings.Cut(command, "generator ")
		if !ok {
			t.Fatalf("line %q does not start the generator", line)
		}
		delays = append(delays, before)
		args, _, _ := strings.Cut(call, " 2>&1 |")
		s, err := parse(strings.Fields(args))
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		if s.Command != "once" || s.Batch != 10 {
			t.Errorf("line %q parsed as %+v", line, s)
		}
	}
	if want := []string{"", "sleep 30; "}; !reflect.DeepEqual(delays, want) {
		t.Errorf("delays %q, want %q", delays, want)
	}
}

func TestIsOwn(t *testing.T) {
	for ref, want := range map[string]bool{
		"estiba/stress": true, "estiba/stress:x": true, "containerstack/alpine-stress": false, "estiba/stress2": false, "other/estiba/stress": false,
	} {
		if isOwn(ref) != want {
			t.Errorf("isOwn(%q) = %v", ref, !want)
		}
	}
}

func TestKindNames(t *testing.T) {
	if got := kindNames(); len(got) != len(container.Kinds()) || got[0] != "cpu" {
		t.Errorf("kindNames = %v", got)
	}
}
