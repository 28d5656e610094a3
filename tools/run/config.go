package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// configuration returns the folder with the configuration of Prometheus and Alertmanager:
// the repository's own when all ports are the usual ones. Otherwise it is one of links to
// that, made anew by each run, with copies of the files that name ports.
func (s *system) configuration() (string, error) {
	own := filepath.Join(s.dirs.root, "prometheus")
	replaced := s.ports.replacements()
	if len(replaced) == 0 {
		return own, nil
	}
	dir := filepath.Join(s.dirs.state, "config")
	if err := linkConfiguration(own, dir, strings.NewReplacer(replaced...)); err != nil {
		return "", fmt.Errorf("writing the configuration for other ports: %w", err)
	}
	return dir, nil
}

func linkConfiguration(own, dir string, replacer *strings.Replacer) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(own)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		from, to := filepath.Join(own, entry.Name()), filepath.Join(dir, entry.Name())
		switch entry.Name() {
		case "targets", "templates":
			err = copyReplaced(from, to, replacer)
		default: // secrets stay where their mode is
			err = os.Symlink(from, to)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyReplaced copies the files in the folder from.
func copyReplaced(from, to string, replacer *strings.Replacer) error {
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	files, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(from, file.Name()))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, file.Name()), []byte(replacer.Replace(string(data))), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// replacements are pairs of a usual address and the chosen one, as for strings.NewReplacer.
func (p ports) replacements() []string {
	var pairs []string
	for _, l := range listeners {
		if p.usual(l.part) {
			continue
		}
		for _, host := range []string{"127.0.0.1:", "localhost:"} {
			pairs = append(pairs, host+strconv.Itoa(l.port), host+strconv.Itoa(p[l.part]))
		}
	}
	return pairs
}
