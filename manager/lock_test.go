package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOneManagerAnEngine(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "run"), filepath.Join(dir, "var-run")
	if err := os.Mkdir(real, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	first, err := lockEngine("unix://" + real + "/docker.sock")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockEngine("unix://" + link + "/docker.sock"); !errors.Is(err, errEngineLocked) {
		t.Errorf("the same socket by another path: %v", err)
	}
	other, err := lockEngine("unix://" + real + "/other.sock")
	if err != nil {
		t.Errorf("another engine: %v", err)
	}
	other.Close()
	first.Close()
	again, err := lockEngine("unix://" + link + "/docker.sock")
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	again.Close()
	for _, host := range []string{"tcp://127.0.0.1:2375", "unix:///" + strings.Repeat("long/", 40) + "docker.sock"} {
		l, err := lockEngine(host)
		if err != nil {
			t.Fatalf("%s: %v", host, err)
		}
		if _, err := lockEngine(host); !errors.Is(err, errEngineLocked) {
			t.Errorf("%s: %v", host, err)
		}
		l.Close()
	}
}
