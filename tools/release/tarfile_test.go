package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"time"
)

func TestWriteTar(t *testing.T) {
	when := time.Unix(1700000000, 0)
	entries := []entry{
		{name: "b/c/file", mode: 0o644, data: []byte("text")},
		{name: "a", mode: 0o755, data: []byte("program")},
		{name: "b/own", folder: true, mode: 0o700, uid: 7, gid: 8},
	}
	var one, two bytes.Buffer
	if err := writeTarGz(&one, when, entries); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(entries)
	if err := writeTarGz(&two, when.In(time.FixedZone("elsewhere", 3600)), entries); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("the order of entries and the time zone change the bytes")
	}

	var plain bytes.Buffer
	if err := writeTar(&plain, when, entries); err != nil {
		t.Fatal(err)
	}
	var got []string
	for reader := tar.NewReader(&plain); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !header.ModTime.Equal(when) || header.Uname+header.Gname != "" {
			t.Errorf("%s: time %s, user %q, group %q", header.Name, header.ModTime, header.Uname, header.Gname)
		}
		got = append(got, header.FileInfo().Mode().String()+" "+header.Name)
	}
	want := []string{"-rwxr-xr-x a", "drwxr-xr-x b/", "drwxr-xr-x b/c/", "-rw-r--r-- b/c/file", "drwx------ b/own/"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWriteTarRejects(t *testing.T) {
	for what, names := range map[string][]string{
		"a name outside": {"../a"}, "an absolute name": {"/a"}, "an empty name": {""}, "a name that is not clean": {"a//b"},
		"a name twice": {"a", "a"}, "a file in a file": {"a", "a/b"},
	} {
		var entries []entry
		for _, name := range names {
			entries = append(entries, entry{name: name, mode: 0o644})
		}
		if err := writeTar(io.Discard, time.Unix(0, 0), entries); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}
