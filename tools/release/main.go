// Command release makes the files of a release that no other tool makes for us
// without a registry or an Engine, and with the same bytes each time: tarballs, images
// and the certificates in them. release.sh calls it.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

const usage = `usage:
  release tarball -time=SECONDS -output=FILE -folder=NAME < LIST
  release images -time=SECONDS -output=PREFIX -dockerfile=FILE -name=NAME:TAG -revision=COMMIT ARCHITECTURE=CONTEXT...
  release certificates > FILE`

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("want a command\n%s", usage)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	seconds := flags.Int64("time", -1, "Time of every file, in seconds since 1970.")
	output := flags.String("output", "", "File to write, or how the names of those begin.")
	folder := flags.String("folder", "", "Folder in the tarball that holds everything.")
	dockerfile := flags.String("dockerfile", "", "What is in the images.")
	name := flags.String("name", "", "Name and tag of the images.")
	revision := flags.String("revision", "", "Commit that they are made of.")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if args[0] == "certificates" {
		return writeCertificates(out)
	}
	if *seconds < 0 || *output == "" {
		return fmt.Errorf("want -time and -output\n%s", usage)
	}
	when := time.Unix(*seconds, 0).UTC()
	switch args[0] {
	case "tarball":
		entries, err := readList(in, *folder)
		if err != nil {
			return err
		}
		var tarball bytes.Buffer
		if err := writeTarGz(&tarball, when, entries); err != nil {
			return err
		}
		return os.WriteFile(*output, tarball.Bytes(), 0o644)
	case "images":
		return writeImages(*dockerfile, *name, *revision, *output, when, flags.Args())
	}
	return fmt.Errorf("unknown command %s\n%s", args[0], usage)
}

// readList reads what is in a tarball: a line for each file, with mode, name in the
// tarball, and the file itself.
func readList(in io.Reader, folder string) ([]entry, error) {
	var entries []entry
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		fields := strings.SplitN(lines.Text(), " ", 3)
		if len(fields) != 3 {
			return nil, fmt.Errorf("list: %q: want mode, name and file", lines.Text())
		}
		mode, err := strconv.ParseInt(fields[0], 8, 64)
		if err != nil {
			return nil, fmt.Errorf("list: %q: mode: %w", lines.Text(), err)
		}
		data, err := os.ReadFile(fields[2])
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry{name: path.Join(folder, fields[1]), mode: mode, data: data})
	}
	if len(entries) == 0 && lines.Err() == nil {
		return nil, errors.New("list: empty")
	}
	return entries, lines.Err()
}
