package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// recipe is what a Dockerfile says about an image. The images of a release and those
// of `make images` are made of the same file, so they cannot differ.
type recipe struct {
	labels     map[string]string
	ports      []string
	user       string
	entrypoint []string
	cmd        []string
	copies     []copyStep
}

type copyStep struct {
	from, to string
	uid, gid int
}

var (
	label = regexp.MustCompile(`^([a-z][a-z0-9.-]*)="([^"\\$]*)"(?:\s+|$)`)
	owner = regexp.MustCompile(`^--chown=(\d+):(\d+)$`)
	port  = regexp.MustCompile(`^\d+(/(tcp|udp))?$`)
	ids   = regexp.MustCompile(`^\d+:\d+$`)
)

// parseDockerfile reads the few instructions that an image of one static program
// needs. What it does not know is an error: nothing is left out in silence.
func parseDockerfile(text string) (*recipe, error) {
	r := &recipe{labels: map[string]string{}}
	scratch := false
	for number, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		instruction, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		var err error
		switch {
		case strings.HasSuffix(line, `\`):
			err = fmt.Errorf("continued lines are not understood")
		case instruction == "FROM" && rest == "scratch" && !scratch:
			scratch = true
		case !scratch:
			err = fmt.Errorf("want FROM scratch, once and first")
		case instruction == "LABEL":
			err = r.addLabels(rest)
		case instruction == "COPY":
			err = r.addCopy(strings.Fields(rest))
		case instruction == "EXPOSE" && port.MatchString(rest):
			if !strings.Contains(rest, "/") {
				rest += "/tcp"
			}
			r.ports = append(r.ports, rest)
		case instruction == "USER" && ids.MatchString(rest):
			r.user = rest
		case instruction == "ENTRYPOINT":
			err = json.Unmarshal([]byte(rest), &r.entrypoint)
		case instruction == "CMD":
			err = json.Unmarshal([]byte(rest), &r.cmd)
		default:
			err = fmt.Errorf("not understood")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", number+1, line, err)
		}
	}
	if len(r.entrypoint) == 0 || len(r.copies) == 0 {
		return nil, fmt.Errorf("want ENTRYPOINT and COPY")
	}
	return r, nil
}

func (r *recipe) addLabels(rest string) error {
	for rest != "" {
		m := label.FindStringSubmatch(rest)
		if m == nil {
			return fmt.Errorf(`want name="value" at %q`, rest)
		}
		r.labels[m[1]] = m[2]
		rest = rest[len(m[0]):]
	}
	return nil
}

func (r *recipe) addCopy(words []string) error {
	var step copyStep
	if len(words) == 3 {
		m := owner.FindStringSubmatch(words[0])
		if m == nil {
			return fmt.Errorf("want --chown=UID:GID, got %s", words[0])
		}
		var err error
		if step.uid, err = strconv.Atoi(m[1]); err != nil {
			return err
		}
		if step.gid, err = strconv.Atoi(m[2]); err != nil {
			return err
		}
		words = words[1:]
	}
	if len(words) != 2 || !filepath.IsLocal(words[0]) || !path.IsAbs(words[1]) || path.Clean(words[1]) != words[1] {
		return fmt.Errorf("want a path in the context and an absolute one")
	}
	step.from, step.to = words[0], strings.TrimPrefix(words[1], "/")
	r.copies = append(r.copies, step)
	return nil
}

// files are the entries of the image's layer. A folder that is copied is its contents,
// in a folder of the other name, as in a Dockerfile.
func (r *recipe) files(context string) ([]entry, error) {
	var entries []entry
	for _, step := range r.copies {
		from := filepath.Join(context, step.from)
		err := filepath.Walk(from, func(file string, info os.FileInfo, err error) error {
			if err != nil {
				return err
			}
			below, err := filepath.Rel(from, file)
			if err != nil {
				return err
			}
			e := entry{name: path.Join(step.to, filepath.ToSlash(below)), uid: step.uid, gid: step.gid, mode: 0o755}
			switch {
			case info.IsDir():
				e.folder = true
			case info.Mode().IsRegular():
				if info.Mode()&0o100 == 0 {
					e.mode = 0o644
				}
				if e.data, err = os.ReadFile(file); err != nil {
					return err
				}
			default:
				return fmt.Errorf("%s is neither a file nor a folder", file)
			}
			entries = append(entries, e)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return entries, nil
}
