package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// reader walks the YAML tree and collects all errors. yaml.Decoder's KnownFields finds
// unknown keys too, but not their paths, nor errors after a wrong type.
type reader struct {
	problems Problems
	nodes    int // so far
	queries  int // bytes of PromQL so far
	more     int // errors beyond maxProblems
}

// document returns the document of a file; nil if there is none.
func (r *reader) document(data []byte) *yaml.Node {
	if len(data) > maxFile {
		r.fail(nil, "", "the file is larger than %d bytes", maxFile)
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0 {
		r.fail(nil, "", "the file is empty")
		return nil
	} else if err != nil {
		r.fail(nil, "", "%v", err)
		return nil
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		r.fail(nil, "", "the file has more than one document")
	}
	if !r.plain(doc.Content[0], "") {
		return nil
	}
	return doc.Content[0]
}

// mistakes are all errors in the order of the file, nil if there are none.
func (r *reader) mistakes() error {
	if len(r.problems) == 0 {
		return nil
	}
	sort.SliceStable(r.problems, func(i, j int) bool { return r.problems[i].Line < r.problems[j].Line })
	if r.more > 0 {
		return append(r.problems, Problem{Message: fmt.Sprintf("and %d more", r.more)})
	}
	return r.problems
}

func (r *reader) fail(n *yaml.Node, path, format string, args ...any) {
	if len(r.problems) >= maxProblems {
		r.more++
		return
	}
	line := 0
	if n != nil {
		line = n.Line
	}
	r.problems = append(r.problems, Problem{Path: path, Line: line, Message: shorten(fmt.Sprintf(format, args...), maxMessage)})
}

// shorten truncates a text: an alias can repeat a long one in each message.
func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	runes := 0
	for at := range s {
		if runes == most {
			return s[:at] + "…"
		}
		runes++
	}
	return s
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// resolve follows an alias to its anchor.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		if n.ShortTag() == "!!null" {
			return "nothing"
		}
		return strconv.Quote(shorten(n.Value, maxQuoted))
	}
	return "something else"
}

// plain reports whether n may be read. A tag such as !!bool changes the meaning of a
// text, and an alias to a large value makes a short file large.
func (r *reader) plain(n *yaml.Node, path string) bool {
	if r.nodes > maxNodes {
		return false
	}
	if r.nodes += 1 + len(n.Value)/nodeText; r.nodes > maxNodes {
		r.more, r.problems = r.more+len(r.problems), nil // secondary to this one
		r.fail(nil, "", "the file has more than %d values, those behind an alias counted each time and long ones as several", maxNodes)
		return false
	}
	if n.Style&yaml.TaggedStyle != 0 {
		r.fail(n, path, "has the tag %s; write the value without one", n.ShortTag())
		return false
	}
	return true
}

// key is a mapping's key.
func (r *reader) key(n *yaml.Node, path string) (string, bool) {
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!merge":
		r.fail(n, join(path, n.Value), "merge keys are not supported; write the keys out")
	case n.Kind != yaml.ScalarNode || n.Style&yaml.TaggedStyle != 0 || n.ShortTag() == "!!null" || n.Value == "":
		r.fail(n, path, "has a key that is not a plain string")
	default:
		return n.Value, true
	}
	return "", false
}

// mapping calls the field's function for each key of n. Unknown and duplicate keys, and
// missing required keys, are errors.
func (r *reader) mapping(n *yaml.Node, path string, required []string, fields map[string]func(*yaml.Node, string)) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		r.fail(n, path, "expected a mapping, found %s", describe(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, ok := r.key(n.Content[i], path)
		if !ok {
			continue
		}
		at := join(path, shorten(name, maxQuoted))
		field, known := fields[name]
		switch value := resolve(n.Content[i+1]); {
		case !known:
			r.fail(n.Content[i], at, "unknown key, expected one of %s", strings.Join(keysOf(fields), ", "))
		case seen[name]:
			r.fail(n.Content[i], at, "duplicate key")
		default:
			seen[name] = true
			if r.plain(value, at) {
				field(value, at)
			}
		}
	}
	for _, key := range required {
		if !seen[key] {
			r.fail(n, join(path, key), "is required")
		}
	}
}

func keysOf(fields map[string]func(*yaml.Node, string)) []string {
	keys := make([]string, 0, len(fields))
	for k := range fields {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// list calls item for each element of n.
func (r *reader) list(n *yaml.Node, path string, item func(*yaml.Node, string)) {
	if n.Kind != yaml.SequenceNode {
		r.fail(n, path, "expected a list, found %s", describe(n))
		return
	}
	for i, e := range n.Content {
		if e, at := resolve(e), fmt.Sprintf("%s[%d]", path, i); r.plain(e, at) {
			item(e, at)
		}
	}
}

// texts reads a mapping of arbitrary keys to strings. Docker's labels are strings, so
// true and 1 are taken literally.
func (r *reader) texts(n *yaml.Node, path string) map[string]string {
	if n.Kind != yaml.MappingNode {
		r.fail(n, path, "expected a mapping, found %s", describe(n))
		return nil
	}
	m := map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, ok := r.key(n.Content[i], path)
		if !ok {
			continue
		}
		value, at := resolve(n.Content[i+1]), join(path, shorten(key, maxQuoted))
		if _, twice := m[key]; twice {
			r.fail(n.Content[i], at, "duplicate key")
		}
		if !r.plain(value, at) {
			continue
		}
		if value.Kind != yaml.ScalarNode || value.ShortTag() == "!!null" {
			r.fail(value, at, "expected a string, found %s", describe(value))
		}
		m[key] = value.Value
	}
	return m
}

func (r *reader) text(n *yaml.Node, path string, to *string) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		r.fail(n, path, "expected a string, found %s", describe(n))
		return
	}
	if strings.TrimSpace(n.Value) == "" {
		r.fail(n, path, "is empty")
		return
	}
	*to = n.Value
}

// word reads a value of a closed list.
func word[T ~string](r *reader, n *yaml.Node, path string, to *T, allowed ...T) {
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = string(a)
		if n.Kind == yaml.ScalarNode && n.Value == string(a) {
			*to = a
			return
		}
	}
	r.fail(n, path, "%s is not one of %s", describe(n), strings.Join(names, ", "))
}

func (r *reader) flag(n *yaml.Node, path string, to *bool) {
	// Exactly these two words: YAML 1.1's yes and on are errors, since readers disagree
	// on them.
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || !strings.EqualFold(n.Value, "true") && !strings.EqualFold(n.Value, "false") {
		r.fail(n, path, "expected true or false, found %s", describe(n))
		return
	}
	*to = strings.EqualFold(n.Value, "true")
}

// wholeNumber is the only accepted form: YAML parsers disagree on 010, 0x10 and 1_000.
var wholeNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

func (r *reader) count(n *yaml.Node, path string, least, most int, to *int) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || !wholeNumber.MatchString(n.Value) {
		r.fail(n, path, "expected a whole number such as 10, found %s", describe(n))
		return
	}
	v, err := strconv.Atoi(n.Value)
	switch {
	case err != nil || v > most:
		r.fail(n, path, "%s is more than %d", n.Value, most)
	case v < least:
		r.fail(n, path, "%d is less than %d", v, least)
	default:
		*to = v
	}
}

// decimal is the only accepted form: 0x1p-2 is a number in Go only.
var decimal = regexp.MustCompile(`^([0-9]+|[0-9]*\.[0-9]+)$`)

// share reads a number from 0 to 1.
func (r *reader) share(n *yaml.Node, path string, to *float64) {
	v, err := strconv.ParseFloat(n.Value, 64)
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!str" || !decimal.MatchString(n.Value) || err != nil || v > 1 {
		r.fail(n, path, "expected a number from 0 to 1, found %s", describe(n))
		return
	}
	*to = v
}

// aDuration is the form of a duration, which may overflow.
var aDuration = regexp.MustCompile(`^([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$`)

// duration reads a duration as in Prometheus: 10s, 1h30m, 500ms.
func (r *reader) duration(n *yaml.Node, path string, shortest, longest time.Duration, to *time.Duration) {
	if n.Kind != yaml.ScalarNode {
		r.fail(n, path, "expected a duration such as 10s, found %s", describe(n))
		return
	}
	d, err := model.ParseDuration(n.Value)
	if err != nil && n.Value != "" && aDuration.MatchString(n.Value) { // it overflows
		r.fail(n, path, "%s is more than %s", n.Value, model.Duration(longest))
		return
	}
	if err != nil {
		r.fail(n, path, "%s is not a duration such as 10s or 1h30m", describe(n))
		return
	}
	if time.Duration(d) < shortest {
		r.fail(n, path, "%s is less than %s", d, model.Duration(shortest))
		return
	}
	if time.Duration(d) > longest {
		r.fail(n, path, "%s is more than %s", n.Value, model.Duration(longest))
		return
	}
	*to = time.Duration(d)
}
