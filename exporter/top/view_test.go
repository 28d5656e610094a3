package top

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
)

var update = flag.Bool("update", false, "update the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s (update with go test -update)\n%s\nwant\n%s", path, got, want)
	}
}

func newModel(width, height int) *Model {
	last, now, describe := world()
	m := &Model{look: Look{Order: "cpu"}, describe: describe, screen: screen{width, height}}
	m.apply(collected{reading: last})
	m.apply(collected{reading: now})
	return m
}

func (m *Model) shown() string {
	var b strings.Builder
	for _, l := range m.draw() {
		b.WriteString(strings.TrimRight(l.plain(), " ") + "\n")
	}
	return b.String()
}

func (m *Model) keys(names ...string) {
	for _, k := range names {
		code, _ := map[string]rune{"esc": tea.KeyEscape, "enter": tea.KeyEnter, "backspace": tea.KeyBackspace, "down": tea.KeyDown, "end": tea.KeyEnd, "space": ' '}[k]
		if code == 0 {
			code = []rune(k)[0]
		}
		p := tea.KeyPressMsg{Code: code}
		if len(k) == 1 {
			p.Text = k
		}
		m.Update(p)
	}
}

func TestScreens(t *testing.T) {
	for name, c := range map[string]struct {
		width, height int
		keys          []string
	}{
		"80x24":         {80, 24, nil},
		"120x40":        {120, 40, nil},
		"200x24":        {200, 24, nil},
		"80x24-tree":    {80, 24, []string{"t", "m"}},
		"80x24-filter":  {80, 24, []string{"/", "S", "H", "O", "P"}},
		"80x24-nothing": {80, 24, []string{"/", "x", "y", "enter", "space"}},
		"80x24-name":    {80, 24, []string{"a", "r"}},
		"80x24-help":    {80, 24, []string{"?"}},
		"60x10":         {60, 10, []string{"p", "down"}},
		"30x4":          {30, 4, []string{"end"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newModel(c.width, c.height)
			m.keys(c.keys...)
			golden(t, name+".txt", m.shown())
		})
	}
}

func TestOnce(t *testing.T) {
	last, now, describe := world()
	f := NewFigures(last, now, describe)
	golden(t, "once.txt", Text(&f, Look{Order: "disk", Tree: true}, 200, false))
}

// Every screen fits its terminal, and what a container chose never reaches it raw.
func TestScreensFit(t *testing.T) {
	sgr := regexp.MustCompile(`\x1b\[[0-9;]*m`)
	for _, colour := range []bool{true, false} {
		for width := 1; width < 220; width += 3 {
			for _, height := range []int{1, 2, 3, 5, 8, 11, 24, 60} {
				for _, keys := range [][]string{nil, {"t"}, {"?"}, {"/", "a"}, {"end"}} {
					m := newModel(width, height)
					m.colour = colour
					m.keys(keys...)
					text := m.View().Content
					lines := strings.Split(sgr.ReplaceAllString(text, ""), "\n")
					at := fmt.Sprintf("%d×%d %v", width, height, keys)
					if len(lines) > height {
						t.Fatalf("%s: %d lines", at, len(lines))
					}
					for _, l := range lines {
						if n := len([]rune(l)); n > width {
							t.Fatalf("%s: a line of %d columns: %q", at, n, l)
						}
						if strings.ContainsFunc(l, func(r rune) bool { return !plain(r) && !strings.ContainsRune("–…▼▲━─├└↑↓", r) }) {
							t.Fatalf("%s: raw characters in %q", at, l)
						}
					}
					if !colour && regexp.MustCompile(`\x1b\[[0-9;]*3\d`).MatchString(text) {
						t.Fatalf("%s: colours: %q", at, text)
					}
				}
			}
		}
	}
}

// An error keeps the last figures on the screen, with the error below.
func TestError(t *testing.T) {
	m := newModel(80, 24)
	m.apply(collected{err: errors.New("reading \x1b[2J: denied")})
	if s := m.shown(); !strings.Contains(s, "shop-web-1") || !strings.Contains(s, `last refresh failed: reading \x1b[2J: denied`) {
		t.Error(s)
	}
	m = &Model{screen: screen{80, 24}}
	if s := m.shown(); !strings.Contains(s, "reading the first snapshot") {
		t.Error(s)
	}
	m.apply(collected{err: errors.New("denied")})
	if s := m.shown(); !strings.Contains(s, "denied") {
		t.Error(s)
	}
}

func TestKeys(t *testing.T) {
	m := newModel(80, 12)
	m.keys("d")
	if m.look.Order != "disk" {
		t.Error(m.look)
	}
	m.keys(">")
	if m.look.Order != "network" {
		t.Error(m.look)
	}
	m.keys("<", "<", "r")
	if m.look.Order != "pressure" || !m.look.Reverse {
		t.Error(m.look)
	}
	m.keys("end")
	m.shown()
	if room, _, _ := m.screen.room(); m.first != max(0, 5-room) {
		t.Errorf("the first line at the end is %d", m.first)
	}
	m.keys("/", "q", "?", "backspace")
	if m.look.Filter != "q" {
		t.Error(m.look)
	}
	m.keys("esc")
	if m.look.Filter != "" || m.typing {
		t.Error(m.look)
	}
	if _, quit := m.Update(tea.KeyPressMsg{Code: 'q', Text: "q"}); quit == nil {
		t.Error("q does not quit")
	}
	// A paused screen does not change.
	m = newModel(80, 24)
	m.keys("space")
	before := m.shown()
	_, now, _ := world()
	now.Snapshot.Containers = nil
	m.apply(collected{reading: now})
	if m.shown() != before || !strings.Contains(before, "paused") {
		t.Errorf("%s\nbefore\n%s", m.shown(), before)
	}
}

func TestUnknownComesLast(t *testing.T) {
	last, now, describe := world()
	f := NewFigures(last, now, describe)
	for _, reverse := range []bool{false, true} {
		all := items(&f, Look{Order: "cpu", Reverse: reverse})
		if _, ok := all[len(all)-1].usage.CPU.Get(); ok {
			t.Errorf("reverse %v: the last one is %s", reverse, all[len(all)-1].label())
		}
	}
}
