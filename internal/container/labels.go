// Package container defines what all parts of Estiba share about containers: labels,
// kinds and ids.
package container

import (
	"sort"
	"strings"
)

// Labels of Docker containers that Estiba reads, and the generator sets.
const (
	LabelManaged   = "estiba.managed"   // "true": the manager may kill it
	LabelKind      = "estiba.kind"      // cpu, ram, io or disk
	LabelProtect   = "estiba.protect"   // "true": never killed
	LabelLoad      = "estiba.load"      // high or low; set by the generator
	LabelGenerator = "estiba.generator" // name of the generator that owns it
	LabelBatch     = "estiba.batch"     // batch of the generator
)

// Labels of other programs that Estiba reads.
const (
	LabelComposeProject = "com.docker.compose.project"
	LabelComposeService = "com.docker.compose.service"
	LabelSchemaGroup    = "org.label-schema.group" // "monitoring" protects the container
)

// labelPrefix is Estiba's namespace: an unknown key in it counts as misspelt.
const labelPrefix = "estiba."

// Labels are the parsed labels of a container.
type Labels struct {
	Managed        bool
	Protected      bool   // by estiba.protect only; the manager derives more
	Kind           Kind   // KindNone when absent or misspelt
	Load           string // "high", "low" or ""
	Monitoring     bool   // org.label-schema.group=monitoring
	ComposeProject string
	ComposeService string
	// Errors are the keys with prefix estiba. that are unknown or have an invalid
	// value, sorted; nil if there are none.
	Errors []string
}

// ParseLabels parses a container's label map. An invalid value is always read as the
// safe one: an invalid estiba.managed is not managed, an invalid estiba.protect is
// protected. Errors lists it.
func ParseLabels(m map[string]string) Labels {
	l := Labels{
		ComposeProject: m[LabelComposeProject],
		ComposeService: m[LabelComposeService],
		Monitoring:     m[LabelSchemaGroup] == "monitoring",
	}
	for key, value := range m {
		if !strings.HasPrefix(key, labelPrefix) {
			continue
		}
		ok := true
		switch key {
		case LabelManaged:
			l.Managed = value == "true"
			ok = value == "true" || value == "false"
		case LabelProtect:
			l.Protected = value != "false"
			ok = value == "true" || value == "false"
		case LabelKind:
			l.Kind, ok = ParseKind(value)
		case LabelLoad:
			if ok = value == "high" || value == "low"; ok {
				l.Load = value
			}
		case LabelGenerator, LabelBatch:
		default:
			ok = false
		}
		if !ok {
			l.Errors = append(l.Errors, key)
		}
	}
	sort.Strings(l.Errors)
	return l
}
