package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

func testDirs(t *testing.T) dirs {
	t.Helper()
	d := newDirs(t.TempDir(), "")
	if err := d.create(); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSecondRunIsRefusedByName(t *testing.T) {
	d := testDirs(t)
	out := newPrinter(&bytes.Buffer{}, time.Now())
	first, err := takeLock(context.Background(), d, out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := takeLock(context.Background(), d, out); err == nil || !strings.Contains(err.Error(), "holds the lock") {
		t.Fatalf("second run: %v", err)
	}
	first.release()
	again, err := takeLock(context.Background(), d, out)
	if err != nil {
		t.Fatalf("after the first run ended: %v", err)
	}
	again.release()
}

func TestRunThatStopsIsWaitedFor(t *testing.T) {
	d := testDirs(t)
	first, err := takeLock(context.Background(), d, newPrinter(&bytes.Buffer{}, time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	first.markStopping()
	time.AfterFunc(300*time.Millisecond, first.release)
	var said bytes.Buffer
	second, err := takeLock(context.Background(), d, newPrinter(&said, time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	second.release()
	if !strings.Contains(said.String(), "still stopping") {
		t.Errorf("said %q", said.String())
	}
}

func TestLeftoversAreStoppedAndOthersAreNot(t *testing.T) {
	s := &state{pids: filepath.Join(t.TempDir(), "pids")}
	ours, other := exec.Command("sleep", "60"), exec.Command("sleep", "60")
	for _, c := range []*exec.Cmd{ours, other} {
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		defer c.Process.Kill()
		go c.Wait()
	}
	s.remember(ours.Process.Pid)
	// The pid of a process of ours that ended, now another's.
	data, err := os.ReadFile(s.pids)
	if err != nil {
		t.Fatal(err)
	}
	stale := string(data) + strconv.Itoa(other.Process.Pid) + " 1\n"
	if err := os.WriteFile(s.pids, []byte(stale), 0o644); err != nil {
		t.Fatal(err)
	}
	s.stopLeftovers(newPrinter(&bytes.Buffer{}, time.Now()))
	if alive(ours.Process.Pid) {
		t.Error("the leftover lives on")
	}
	if !alive(other.Process.Pid) {
		t.Error("another's process was stopped")
	}
}

func TestChildrenDieWithTheRun(t *testing.T) {
	if os.Getenv("RUN_TEST_CHILD") != "" {
		s := newSpawner(&state{pids: os.DevNull})
		c := exec.Command("sleep", "60")
		if err := s.start(c); err != nil {
			t.Fatal(err)
		}
		os.WriteFile(os.Getenv("RUN_TEST_CHILD"), []byte(strconv.Itoa(c.Process.Pid)), 0o644)
		// With nothing left to wake it, select {} would end the process.
		time.Sleep(time.Minute)
		return
	}
	file := filepath.Join(t.TempDir(), "pid")
	run := exec.Command(os.Args[0], "-test.run=^TestChildrenDieWithTheRun$")
	run.Env = append(os.Environ(), "RUN_TEST_CHILD="+file)
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	var child string
	eventually(t, "a child is started", func() bool {
		data, err := os.ReadFile(file)
		child = string(data)
		return err == nil && child != ""
	})
	if _, err := startTime(child); err != nil {
		t.Fatalf("child %s: %v", child, err)
	}
	run.Process.Kill()
	run.Wait()
	eventually(t, "child "+child+" ends with the run that was killed", func() bool {
		fields, err := statFields(child)
		return err != nil || fields[2] == "Z"
	})
}

// eventually is testutil.Eventually for this module, which does not need the other.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out: %s", what)
		}
	}
}

func TestFollowerReadsWhatIsAppended(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f := newFollower(path, 4)
	defer f.close()
	var got []string
	read := func() { f.each(func(l string) { got = append(got, l) }) }
	read() // not there yet
	write := func(flag int, s string) {
		t.Helper()
		file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|flag, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	write(os.O_APPEND, "old\none\ntw")
	read()
	write(os.O_APPEND, "o\n")
	read()
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write(os.O_APPEND, "three\n")
	read()
	read()
	if want := []string{"one", "two", "three"}; !reflect.DeepEqual(got, want) {
		t.Errorf("lines = %q, want %q", got, want)
	}
}

func TestWhatIsShown(t *testing.T) {
	if got, want := batchLine(`level=info ts=2026-01-02T03:04:05Z caller=fleet.go:93 msg="created 10 containers: 1 ram high" batch=x`),
		"generator: created 10 containers: 1 ram high"; got != want {
		t.Errorf("batchLine = %q, want %q", got, want)
	}
	if got, want := batchLine(`level=error caller=fleet.go:85 msg="creating container failed" name=a err="creating \"a\": refused"`),
		`generator: creating container failed: creating "a": refused`; got != want {
		t.Errorf("batchLine = %q, want %q", got, want)
	}
	for _, tt := range []struct {
		name, line, want string
		done             bool
	}{
		{"intent", `{"phase":"intent","name":"a"}`, "", false},
		{"not JSON", `not json`, "", false},
		{
			"done",
			`{"phase":"outcome","container":"0123456789abcdef","name":"a","kind":"io","rule":"surplus","action":"remove","outcome":"done"}`,
			"manager: remove 0123456789ab a (kind io, rule surplus): done", true,
		},
		{
			"refused",
			`{"phase":"outcome","container":"0123456789abcdef","name":"a","kind":"io","rule":"surplus","action":"remove","outcome":"refused","guard":"last_of_kind"}`,
			"manager: remove 0123456789ab a (kind io, rule surplus): refused, last_of_kind", false,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, done := killLine(tt.line); got != tt.want || done != tt.done {
				t.Errorf("killLine(%s) = %q, %v, want %q, %v", tt.line, got, done, tt.want, tt.done)
			}
		})
	}
}
