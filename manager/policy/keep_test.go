package policy

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/estiba/estiba/internal/container"
)

// grouped sets a keep rule by image, and the images of the containers of a calm world.
func grouped(w *World, images ...string) {
	w.Keep = []Keep{{By: "image", Min: 1}}
	for i, image := range images {
		w.Containers[i].Groups = []Group{{Known: true, Name: image}}
	}
}

func TestKeepByAnything(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*World)
		reason Reason
		detail string
	}{
		"another of its image is left": {func(w *World) { grouped(w, "nginx", "nginx") }, Chosen, ""},
		"without the label":            {func(w *World) { grouped(w, "", "blue") }, Chosen, ""},
		"the last of its image":        {func(w *World) { grouped(w, "nginx", "redis") }, LastOfGroup, "image nginx"},
		"unknown":                      {func(w *World) { w.Keep = []Keep{{By: "image", Min: 1}} }, UnknownGroup, "image"},
		"unknown, but enough others match": {func(w *World) {
			w.Keep = []Keep{{By: "name web-*", One: true, Min: 1}}
			w.Containers[1].Groups = []Group{{Known: true, Name: "web-*"}}
		}, Chosen, ""},
		"the last that matches": {func(w *World) {
			w.Keep = []Keep{{By: "name web-*", One: true, Min: 1}}
			w.Containers[0].Groups = []Group{{Known: true, Name: "web-*"}}
			w.Containers[1].Groups = []Group{{Known: true}}
		}, LastOfGroup, "name web-*"},
		"none of its own kind is needed": {func(w *World) {
			grouped(w, "nginx", "nginx")
			w.Containers[0].Kind = container.KindNone
		}, Chosen, ""},
		"a long value": {func(w *World) { grouped(w, strings.Repeat("é", 200), "") }, LastOfGroup, "image " + strings.Repeat("é", 80) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			w := calm()
			c.change(&w)
			d := Decide(w).Decisions[0]
			if d.Reason != c.reason || d.Detail != c.detail {
				t.Errorf("%s (%s), want %s (%s)", d.Reason, d.Detail, c.reason, c.detail)
			}
		})
	}
}

func TestCheckKeep(t *testing.T) {
	none := func(string) bool { return false }
	two := calm().Containers
	byKind := []Keep{{Min: 1}}
	w := calm()
	grouped(&w, "nginx", "nginx")
	byImage, images := w.Keep, w.Containers
	foreign := []Container{two[0], two[1]}
	foreign[1].Foreign = true
	unknown := []Container{images[0], images[1]}
	unknown[1].Groups = nil
	for name, c := range map[string]struct {
		running []Container
		keep    []Keep
		gone    func(string) bool
		want    Reason
	}{
		"one of two may go":                  {two, byKind, none, ""},
		"the last one":                       {two[:1], byKind, none, LastOfKind},
		"the other is run by something else": {foreign, byKind, none, LastOfKind},
		"the other is being killed":          {two, byKind, func(id string) bool { return id == two[1].ID }, LastOfKind},
		"one of two of an image":             {images, byImage, none, ""},
		"the last one of an image":           {images[:1], byImage, none, LastOfGroup},
		"the other's image is unknown":       {unknown, byImage, none, LastOfGroup},
		"its own image is unknown":           {[]Container{unknown[1], images[0]}, byImage, none, UnknownGroup},
		"both rules hold":                    {images, append(byKind[:1:1], byImage...), none, UnknownGroup},
	} {
		t.Run(name, func(t *testing.T) {
			if got := CheckKeep(c.running, c.running[0], c.keep, c.gone); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// The check at the kill and the plan agree: killed one by one, in any order, the victims
// of a plan pass it, and each that it passes leaves what the keep rules need.
func TestCheckKeepOfAPlan(t *testing.T) {
	checked := 0
	rapid.Check(t, func(t *rapid.T) {
		w := worlds().Draw(t, "world")
		var victims []Victim
		for _, v := range Decide(w).Victims {
			if v.Rule.Mode == Live {
				victims = append(victims, v)
			}
		}
		dead := map[string]bool{}
		for _, v := range rapid.Permutation(victims).Draw(t, "order") {
			if why := CheckKeep(w.Containers, v.Container, w.Keep, func(id string) bool { return dead[id] }); why != "" {
				t.Errorf("a planned kill is refused: %s", why)
			}
			dead[v.Container.ID] = true
			checked++
		}
		for _, c := range w.Containers {
			if dead[c.ID] || !c.InScope || c.State != Running || keepsKinds(w.Keep) && c.Kind == container.KindNone {
				continue
			}
			if CheckKeep(w.Containers, c, w.Keep, func(id string) bool { return dead[id] }) == "" {
				dead[c.ID] = true
			}
		}
		for _, wrong := range brokenKeeps(w, dead) {
			t.Error(wrong)
		}
	})
	if checked == 0 {
		t.Error("no plan had a victim")
	}
}
