package top

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
)

// Model is the state of the screen. It computes nothing but figures, and draws nothing
// that has not been cleaned.
type Model struct {
	look     Look
	screen   screen
	figures  Figures
	reading  *Reading
	describe Namer
	ready    bool  // figures has a refresh
	err      error // of the last refresh
	first    int   // first visible item
	help     bool
	typing   bool // the filter
	paused   bool
	colour   bool

	interval time.Duration
	collect  func(context.Context) (*Reading, error)
	ctx      context.Context
}

// collected is the result of one refresh.
type collected struct {
	reading *Reading
	err     error
}

// due says that it is time for the next refresh.
type due struct{}

// firstInterval is how soon the second refresh follows the first, which has no rates.
const firstInterval = 500 * time.Millisecond

// Init starts the first refresh.
func (m *Model) Init() tea.Cmd { return m.refresh() }

func (m *Model) refresh() tea.Cmd {
	return func() tea.Msg {
		r, err := m.collect(m.ctx)
		return collected{r, err}
	}
}

// Update applies one message.
func (m *Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.screen = screen{msg.Width, msg.Height}
	case due:
		if m.paused {
			return m, m.later(m.interval)
		}
		return m, m.refresh()
	case collected:
		return m, m.apply(msg)
	case tea.KeyPressMsg:
		return m, m.press(msg)
	case tea.PasteMsg:
		if m.typing {
			m.look.Filter = limited(m.look.Filter + msg.Content)
		}
	}
	return m, nil
}

func (m *Model) later(d time.Duration) tea.Cmd {
	return tea.Tick(d, func(time.Time) tea.Msg { return due{} })
}

// apply shows the result of a refresh and plans the next one.
func (m *Model) apply(c collected) tea.Cmd {
	m.err = c.err
	if c.err != nil || m.paused {
		return m.later(m.interval)
	}
	first := m.reading == nil
	if _, newer := elapsed(m.reading, c.reading); first || newer {
		m.figures = NewFigures(m.reading, c.reading, m.describe)
		m.reading, m.ready = c.reading, true
	}
	if first {
		return m.later(min(firstInterval, m.interval))
	}
	return m.later(m.interval)
}

// View draws the screen.
func (m *Model) View() tea.View {
	lines := m.draw()
	text := make([]string, len(lines))
	for i, l := range lines {
		text[i] = l.render(m.colour)
	}
	v := tea.NewView(strings.Join(text, "\n"))
	v.AltScreen = true
	return v
}

// press handles a key.
func (m *Model) press(k tea.KeyPressMsg) tea.Cmd {
	key := k.String()
	if key == "ctrl+c" {
		return tea.Quit
	}
	switch {
	case m.typing:
		m.typeFilter(key, k.Text)
		return nil
	case m.help:
		m.help = false
		return nil
	}
	room, _, _ := m.screen.room()
	switch key {
	case "q":
		return tea.Quit
	case "?", "h", "f1":
		m.help = true
	case "/":
		m.typing = true
	case "esc":
		m.look.Filter = ""
	case "t":
		m.look.Tree = !m.look.Tree
	case "r":
		m.look.Reverse = !m.look.Reverse
	case "space":
		m.paused = !m.paused
	case "<", ",", "left":
		m.sortBy(-1)
	case ">", ".", "right":
		m.sortBy(1)
	case "up", "k":
		m.first--
	case "down", "j":
		m.first++
	case "pgup", "ctrl+b":
		m.first -= room
	case "pgdown", "ctrl+f":
		m.first += room
	case "home":
		m.first = 0
	case "end":
		m.first = len(m.figures.Rows) * 2
	default:
		for _, o := range orders() {
			if o.key == key {
				m.look.Order, m.look.Reverse, m.first = o.name, false, 0
			}
		}
	}
	m.first = max(0, m.first)
	return nil
}

// sortBy moves to the next or last sort key that has a column.
func (m *Model) sortBy(step int) {
	names := OrderNames()
	at := slices.Index(names, m.look.Order)
	m.look.Order = names[(at+step+len(names))%len(names)]
	m.look.Reverse, m.first = false, 0
}

// typeFilter edits the filter.
func (m *Model) typeFilter(key, text string) {
	m.first = 0
	switch key {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, m.look.Filter = false, ""
	case "backspace":
		_, n := utf8.DecodeLastRuneInString(m.look.Filter)
		m.look.Filter = m.look.Filter[:len(m.look.Filter)-n]
	case "ctrl+u":
		m.look.Filter = ""
	default:
		m.look.Filter = limited(m.look.Filter + text)
	}
}

// limited keeps a filter short: a paste can be anything.
func limited(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 64 {
		s = strings.ToValidUTF8(s[:64], "")
	}
	return s
}
