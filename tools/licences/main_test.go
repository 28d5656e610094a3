package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLicences(t *testing.T) {
	ours, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	gpl := "This program is free software; you can redistribute it and/or modify it under the terms of the GNU General Public License version 2 as published by the Free Software Foundation."
	for name, one := range map[string]struct{ text, want string }{
		"LICENSE":    {string(ours), "Apache-2.0"},
		"COPYING":    {gpl, "is GPL"},
		"LICENSE.md": {"All rights reserved. Ask us first.", "a known licence"},
		"README":     {string(ours), "no licence"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(one.text), 0o644); err != nil {
			t.Fatal(err)
		}
		found, err := licences(dir)
		if got := strings.Join(found, ", "); err != nil {
			got = err.Error()
			if !strings.Contains(got, one.want) {
				t.Errorf("%s: %s, want %s", name, got, one.want)
			}
		} else if got != one.want {
			t.Errorf("%s: %s, want %s", name, got, one.want)
		}
	}
}
