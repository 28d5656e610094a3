package main

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"
)

// entry is a file or a folder in a tar file.
type entry struct {
	name     string // without a slash in front
	folder   bool
	mode     int64
	uid, gid int
	data     []byte
}

// writeTar writes the entries, sorted, with the folders above them. Nothing in it
// depends on the host: not its users, its clock, its umask, nor the order of files.
func writeTar(w io.Writer, when time.Time, entries []entry) error {
	all := map[string]entry{}
	for _, e := range entries {
		if e.name == "" || path.Clean(e.name) != e.name || path.IsAbs(e.name) || strings.HasPrefix(e.name, "..") {
			return fmt.Errorf("tar: name %q is not one below the root", e.name)
		}
		if _, twice := all[e.name]; twice {
			return fmt.Errorf("tar: %s is there twice", e.name)
		}
		all[e.name] = e
	}
	for _, e := range entries {
		for above := path.Dir(e.name); above != "."; above = path.Dir(above) {
			switch was, there := all[above]; {
			case !there:
				all[above] = entry{name: above, folder: true, mode: 0o755}
			case !was.folder:
				return fmt.Errorf("tar: %s is in %s, which is a file", e.name, above)
			}
		}
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)

	out := tar.NewWriter(w)
	for _, name := range names {
		e := all[name]
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: e.name, Mode: e.mode, Uid: e.uid, Gid: e.gid,
			Size: int64(len(e.data)), ModTime: when,
		}
		if e.folder {
			header.Typeflag, header.Name = tar.TypeDir, e.name+"/"
		}
		if err := out.WriteHeader(header); err != nil {
			return fmt.Errorf("tar: %s: %w", e.name, err)
		}
		if _, err := out.Write(e.data); err != nil {
			return fmt.Errorf("tar: %s: %w", e.name, err)
		}
	}
	return out.Close()
}

// writeTarGz is writeTar, compressed. The header has neither name nor time.
func writeTarGz(w io.Writer, when time.Time, entries []entry) error {
	zip, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	if err := writeTar(zip, when, entries); err != nil {
		return err
	}
	return zip.Close()
}
