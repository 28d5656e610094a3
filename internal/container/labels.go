// Package container holds what every part of Estiba agrees on about a
// container: the labels it may carry, its kind, and how its id is written.
package container

import (
	"sort"
	"strings"
)

// Labels that Estiba reads from (and the generator writes to) Docker containers.
const (
	LabelManaged   = "estiba.managed"   // "true": the manager may act on it
	LabelKind      = "estiba.kind"      // cpu, ram, io or disk
	LabelProtect   = "estiba.protect"   // "true": never acted on
	LabelLoad      = "estiba.load"      // high or low; written by the generator
	LabelGenerator = "estiba.generator" // name of the generator that owns it
	LabelBatch     = "estiba.batch"     // the generator's batch it came with
)

// Labels of others that Estiba understands.
const (
	LabelComposeProject = "com.docker.compose.project"
	LabelComposeService = "com.docker.compose.service"
	LabelSchemaGroup    = "org.label-schema.group" // "monitoring" protects the container
)

// labelPrefix is the namespace that belongs to Estiba: a key in it that is not
// listed above is a spelling mistake.
const labelPrefix = "estiba."

// Labels is what a container's labels say to Estiba.
type Labels struct {
	Managed        bool
	Protected      bool   // estiba.protect only; what is derived is the manager's
	Kind           Kind   // KindNone when absent or misspelt
	Load           string // "high", "low" or ""
	Monitoring     bool   // org.label-schema.group=monitoring
	ComposeProject string
	ComposeService string
	// Errors are the keys in the estiba. namespace that are unknown or have a
	// value outside their vocabulary, sorted; nil when all is well.
	Errors []string
}

// ParseLabels reads a container's label map. A mistake never widens what may
// be done to the container: a misspelt estiba.managed is not managed, a
// misspelt estiba.protect is protected, and each is listed in Errors.
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
