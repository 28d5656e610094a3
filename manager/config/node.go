package config

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// reader walks the YAML tree and collects every mistake instead of stopping
// at the first. yaml.Decoder's KnownFields finds unknown keys too, but says
// neither the path nor the mistakes after a wrong type.
type reader struct {
	problems Problems
}

func (r *reader) fail(n *yaml.Node, path, format string, args ...any) {
	line := 0
	if n != nil {
		line = n.Line
	}
	r.problems = append(r.problems, Problem{Path: path, Line: line, Message: fmt.Sprintf(format, args...)})
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
		return strconv.Quote(n.Value)
	}
	return "something else"
}

// mapping calls the field's function for each key of n. Unknown and doubled
// keys, and required keys that are missing, are mistakes.
func (r *reader) mapping(n *yaml.Node, path string, required []string, fields map[string]func(*yaml.Node, string)) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		r.fail(n, path, "want a mapping, not %s", describe(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		field, known := fields[key.Value]
		switch {
		case !known:
			r.fail(key, at, "unknown key, want one of %s", strings.Join(keysOf(fields), ", "))
		case seen[key.Value]:
			r.fail(key, at, "stands here twice")
		default:
			seen[key.Value] = true
			field(resolve(value), at)
		}
	}
	for _, key := range required {
		if !seen[key] {
			r.fail(n, join(path, key), "is missing; it has no default")
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
		r.fail(n, path, "want a list, not %s", describe(n))
		return
	}
	for i, e := range n.Content {
		item(resolve(e), fmt.Sprintf("%s[%d]", path, i))
	}
}

func (r *reader) text(n *yaml.Node, path string, to *string) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		r.fail(n, path, "want a text, not %s", describe(n))
		return
	}
	if strings.TrimSpace(n.Value) == "" {
		r.fail(n, path, "is empty")
		return
	}
	*to = n.Value
}

// word reads one of a closed set.
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
	// Exactly the two words: YAML 1.1's yes and on are mistakes here, since a
	// reader of the file could take them for either.
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		r.fail(n, path, "want true or false, not %s", describe(n))
		return
	}
	*to = strings.EqualFold(n.Value, "true")
}

func (r *reader) count(n *yaml.Node, path string, min int, to *int) {
	v, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || err != nil {
		r.fail(n, path, "want a whole number, not %s", describe(n))
		return
	}
	if v < min {
		r.fail(n, path, "%d is less than %d", v, min)
		return
	}
	*to = v
}

// share reads a number from 0 to 1.
func (r *reader) share(n *yaml.Node, path string, to *float64) {
	v, err := strconv.ParseFloat(n.Value, 64)
	if n.Kind != yaml.ScalarNode || (n.ShortTag() != "!!int" && n.ShortTag() != "!!float") || err != nil || !(v >= 0 && v <= 1) {
		r.fail(n, path, "want a number from 0 to 1, not %s", describe(n))
		return
	}
	*to = v
}

// duration reads Prometheus' way of writing one: 10s, 1h30m, 500ms.
func (r *reader) duration(n *yaml.Node, path string, min time.Duration, to *time.Duration) {
	if n.Kind != yaml.ScalarNode {
		r.fail(n, path, "want a duration such as 10s, not %s", describe(n))
		return
	}
	d, err := model.ParseDuration(n.Value)
	if err != nil {
		r.fail(n, path, "%s is not a duration such as 10s or 1h30m", describe(n))
		return
	}
	if time.Duration(d) < min {
		r.fail(n, path, "%s is less than %s", d, model.Duration(min))
		return
	}
	*to = time.Duration(d)
}
