package gather

import (
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/policy"
)

// keepOf is a keep rule's view for decisions.
func keepOf(k config.Keep) policy.Keep {
	if k.By == config.KeepByKind {
		return policy.Keep{Min: k.Min}
	}
	return policy.Keep{By: k.Name(), One: k.Match != "", Min: k.Min}
}

// groups are the groups of a container under the keep rules of a policy; nil if all of
// these are by kind.
func groups(keep []config.Keep, f Facts) []policy.Group {
	var list []policy.Group
	for i, k := range keep {
		if k.By == config.KeepByKind {
			continue
		}
		if list == nil {
			list = make([]policy.Group, len(keep))
		}
		list[i] = groupOf(k, f)
	}
	return list
}

func groupOf(k config.Keep, f Facts) policy.Group {
	value, known := valueOf(k, f)
	switch {
	case f.Infra:
		return policy.Group{Known: true}
	case !known:
		return policy.Group{}
	case k.Match == "":
		return policy.Group{Known: true, Name: value}
	case value != "" && matches(k, value):
		return policy.Group{Known: true, Name: k.Match}
	}
	return policy.Group{Known: true}
}

// valueOf is what a keep rule groups a container by, "" if it has none. A container
// always has a name and an image.
func valueOf(k config.Keep, f Facts) (value string, known bool) {
	switch k.By {
	case config.KeepByName:
		return f.Name, f.Name != ""
	case config.KeepByImage:
		return f.Image, f.Image != "" && f.Image != unknownImage
	case config.KeepByComposeService:
		return f.ComposeService, f.Described
	case config.KeepByLabel:
		return f.Label(k.Label)
	}
	return "", false
}

func matches(k config.Keep, value string) bool {
	if k.By == config.KeepByImage {
		return matchesImage([]string{k.Match}, value)
	}
	return glob(k.Match, value)
}

// ComposeService is PROJECT/SERVICE of the labels of Docker Compose, "" without a
// service.
func ComposeService(project, service string) string {
	if service == "" {
		return ""
	}
	return project + "/" + service
}
