package config

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/estiba/estiba/internal/container"
)

// KeepBy is what a keep rule groups containers by.
type KeepBy string

// What a keep rule can group by. In a file, a label is "label:NAME".
const (
	KeepByKind           KeepBy = "kind"            // the label estiba.kind
	KeepByImage          KeepBy = "image"           // reference named at creation
	KeepByName           KeepBy = "name"            // with Match only
	KeepByComposeService KeepBy = "compose_service" // PROJECT/SERVICE
	KeepByLabel          KeepBy = "label"           // value of the Docker label Keep.Label
)

const (
	labelPrefix     = string(KeepByLabel) + ":"
	keepByLabelName = KeepBy(labelPrefix + "NAME") // as messages have it
)

// Keep is a keep rule: it holds after each kill.
type Keep struct {
	By    KeepBy
	Label string // Docker label; with KeepByLabel only
	// Match is a pattern in which * is any text: all containers that match are one group.
	// "": each value is a group.
	Match string
	Min   int // smallest number of running containers in scope, in each group
}

// Name is the rule's by and match: "kind", "label:team", "name web-*".
func (k Keep) Name() string {
	name := string(k.By)
	if k.By == KeepByLabel {
		name = labelPrefix + k.Label
	}
	if k.Match != "" {
		name += " " + k.Match
	}
	return name
}

// servicePattern is a pattern for PROJECT/SERVICE. Docker Compose allows these characters.
var servicePattern = regexp.MustCompile(`^[A-Za-z0-9_.*-]*/[A-Za-z0-9_.*-]+$`)

func (r *reader) keeps(n *yaml.Node, path string) []Keep {
	keeps := []Keep{}
	lines := map[string]int{}
	r.list(n, path, func(n *yaml.Node, path string) {
		k, by := r.keep(n, path)
		if by == nil {
			return
		}
		if line, twice := lines[k.Name()]; twice {
			r.fail(by, join(path, "by"), "%s has a keep rule already, in line %d", k.Name(), line)
		} else {
			lines[k.Name()] = by.Line
		}
		keeps = append(keeps, k)
	})
	if n.Kind == yaml.SequenceNode && len(n.Content) > maxKeeps {
		r.fail(n, path, "has %d keep rules, at most %d are allowed", len(n.Content), maxKeeps)
	}
	return keeps
}

// keep reads one keep rule; by is the node of its by, nil after an error there.
func (r *reader) keep(n *yaml.Node, path string) (k Keep, by *yaml.Node) {
	var match *yaml.Node
	r.mapping(n, path, []string{"by", "min"}, map[string]func(*yaml.Node, string){
		"by": func(n *yaml.Node, p string) {
			if r.keepBy(n, p, &k); k.By != "" {
				by = n
			}
		},
		"match": func(n *yaml.Node, p string) { match = n; r.text(n, p, &k.Match) },
		"min":   func(n *yaml.Node, p string) { r.count(n, p, 1, maxKeep, &k.Min) },
	})
	path = join(path, "match")
	switch {
	case k.By == KeepByName && match == nil:
		r.fail(n, path, "is required with by: name, since each container has a name of its own")
	case k.By == KeepByKind && match != nil:
		r.fail(match, path, "is not allowed with by: kind, which has a group for each kind")
	case k.Match != "":
		r.keepMatch(match, path, k)
	}
	return k, by
}

func (r *reader) keepBy(n *yaml.Node, path string, k *Keep) {
	label, isLabel := strings.CutPrefix(n.Value, labelPrefix)
	switch {
	case n.Kind != yaml.ScalarNode, !isLabel && n.Value != string(KeepByLabel):
		word(r, n, path, &k.By, KeepByKind, KeepByImage, KeepByName, KeepByComposeService, keepByLabelName)
	case !isLabel || label == "" || strings.ContainsAny(label, " \t\n*"):
		r.fail(n, path, "expected a label such as label:team, found %s", describe(n))
	case label == container.LabelKind:
		r.fail(n, path, "is the kind; write by: kind")
	default:
		k.By, k.Label = KeepByLabel, label
	}
}

// keepMatch refuses a pattern that no container can match.
func (r *reader) keepMatch(n *yaml.Node, path string, k Keep) {
	possible, what := namePattern, "container name"
	switch k.By {
	case KeepByImage:
		possible, what = imagePattern, "image reference"
	case KeepByComposeService:
		if !strings.Contains(k.Match, "/") {
			r.fail(n, path, "%q has no project: write PROJECT/%s, or */%s for all projects together", k.Match, k.Match, k.Match)
			return
		}
		possible, what = servicePattern, "PROJECT/SERVICE"
	case KeepByLabel, "":
		return // a value is any text
	}
	if !possible.MatchString(k.Match) {
		r.fail(n, path, "%q matches no %s: * stands for any text, other characters for themselves", k.Match, what)
	}
}
