package gather

import (
	"reflect"
	"strings"
	"testing"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/policy"
)

func TestGroups(t *testing.T) {
	keep := []config.Keep{
		{By: config.KeepByKind, Min: 1},
		{By: config.KeepByImage, Min: 1},
		{By: config.KeepByImage, Match: "nginx", Min: 1},
		{By: config.KeepByName, Match: "web-*", Min: 1},
		{By: config.KeepByComposeService, Min: 1},
		{By: config.KeepByComposeService, Match: "*/web", Min: 1},
		{By: config.KeepByLabel, Label: "team", Min: 1},
		{By: config.KeepByLabel, Label: "team", Match: "b*", Min: 1},
	}
	unknown, none := policy.Group{}, policy.Group{Known: true}
	in := func(name string) policy.Group { return policy.Group{Known: true, Name: name} }
	id := strings.Repeat("a", 64)
	labels := map[string]string{
		container.LabelComposeProject: "shop", container.LabelComposeService: "web", "team": "blue",
	}
	for name, c := range map[string]struct {
		c      dockerclient.Container
		images map[string]string
		want   []policy.Group
	}{
		"all": {
			dockerclient.Container{Name: "web-1", Image: "example/nginx:1.25", Labels: labels},
			nil,
			[]policy.Group{unknown, in("example/nginx:1.25"), in("nginx"), in("web-*"), in("shop/web"), in("*/web"), in("blue"), in("b*")},
		},
		"none": {
			dockerclient.Container{Name: "db", Image: "postgres", Labels: map[string]string{"team": ""}},
			nil,
			[]policy.Group{unknown, in("postgres"), none, none, none, none, none, none},
		},
		"a service without a project": {
			dockerclient.Container{Name: "a-web-1", Image: "x", Labels: map[string]string{container.LabelComposeService: "web"}},
			nil,
			[]policy.Group{unknown, in("x"), none, none, in("/web"), in("*/web"), none, none},
		},
		"the image's tag has moved": {
			dockerclient.Container{Name: "db", Image: "sha256:abc"},
			map[string]string{id: "nginx:1.24"},
			[]policy.Group{unknown, in("nginx:1.24"), in("nginx"), none, none, none, none, none},
		},
		"image and name unknown": {
			dockerclient.Container{Image: "sha256:abc"},
			nil,
			[]policy.Group{unknown, unknown, unknown, unknown, none, none, none, none},
		},
		"the infra container of a pod": {
			dockerclient.Container{Name: "web-infra", Image: "nginx", Labels: labels, Infra: true},
			nil,
			[]policy.Group{unknown, none, none, none, none, none, none, none},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.c.ID = id
			k := classifier{config: &config.Config{Scope: config.ScopeAll, Keep: keep}, images: c.images}
			if got := k.classify(c.c).Groups; !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// Keep rules by kind alone need no groups.
func TestGroupsByKindAlone(t *testing.T) {
	k := classifier{config: &config.Config{Keep: []config.Keep{{By: config.KeepByKind, Min: 1}}}}
	if got := k.classify(dockerclient.Container{Name: "a"}).Groups; got != nil {
		t.Errorf("%+v", got)
	}
}
