package status

import (
	"bytes"
	"crypto/rand"
	_ "embed" // the page is part of the program
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/units"
)

var (
	//go:embed page.html
	pageSource string
	//go:embed live.html
	liveSource string
	//go:embed style.css
	style string
	//go:embed page.js
	script string
)

// frame is what each HTML page has.
type frame struct {
	Nonce string
	Style template.CSS
}

func newFrame() frame {
	raw := make([]byte, 12)
	rand.Read(raw) // never fails, see crypto/rand
	return frame{base64.RawURLEncoding.EncodeToString(raw), template.CSS(style)}
}

// view is the data of the page's template.
type view struct {
	frame
	Decisions
	Script     template.JS
	Now        time.Time
	Kills      []audit.Record
	Kinds      []kindCount
	Order      order
	Rows       []tableRow
	Shown      int // rows that the filters leave
	HasHistory bool
	Graphs     []graph
	HistoryErr string
	HistoryAt  time.Time
	Links      []link
	Grafana    string // base of the links to the dashboard of a container; "" is none

	history *history
	unit    map[string]units.Unit // of the rules' values
}

// tableRow is a row of the table of containers.
type tableRow struct {
	Row
	Index  int // in the order of the decisions
	Hidden bool
	Spark  string // path of the CPU usage
}

type kindCount struct {
	Kind string
	N    int
}

// shownKills is the number of kills on the page; the API has more.
const shownKills = 20

// pages serves the status page: complete without scripts. The script only fetches the
// part that changes, and moves its differences into the page.
type pages struct {
	Site
	template *template.Template
	recorder *recorder // nil: no graphs
	finder   *finder
}

func newPages(s Site) *pages {
	t := template.Must(template.New("page").Funcs(functions()).Parse(pageSource + liveSource))
	p := &pages{Site: s, template: t, finder: &finder{source: s.Prometheus, links: s.Links, now: s.Now}}
	if s.Prometheus != nil {
		p.recorder = newRecorder(s.Prometheus, s.Now)
	}
	return p
}

// state is what a view is made of; tag changes when it does.
type state struct {
	tag     string
	kills   []audit.Record
	history *history
	links   []link
	grafana string
}

func (p *pages) state(r *http.Request) state {
	s := state{history: &history{}}
	if p.recorder != nil {
		s.history = p.recorder.get(r.Context())
	}
	var version int
	s.links, s.grafana, version = p.finder.get()
	var ticks uint64
	_, ticks, s.kills = p.Store.last()
	last := ""
	if len(s.kills) > 0 {
		last = s.kills[0].KillID + string(s.kills[0].Outcome)
	}
	s.tag = fmt.Sprintf(`"%d-%d-%t-%s-%d-%d"`, ticks, len(s.kills), p.Store.DryRun(), last, s.history.version, version)
	return s
}

// view describes the last tick, for a request.
func (p *pages) view(r *http.Request, s state) view {
	kills := s.kills
	v := view{
		frame: newFrame(), Decisions: p.decisions(), Script: template.JS(script), Now: p.Now(),
		Kills: kills[:min(len(kills), shownKills)], Order: orderOf(r.URL.Query()), HasHistory: p.recorder != nil,
		history: s.history, unit: map[string]units.Unit{},
	}
	v.Graphs = v.history.graphs(kills)
	if v.history.known() {
		v.HistoryAt = v.history.at()
	}
	v.HistoryErr = text(v.history.err)
	for _, l := range s.links {
		if opens(l.URL, r.Host) {
			v.Links = append(v.Links, l)
		}
	}
	if opens(s.grafana, r.Host) {
		v.Grafana = s.grafana
	}
	for _, rule := range v.Rules {
		v.unit[rule.Name] = units.Of(rule.Query)
	}
	counts := map[string]int{}
	for _, c := range v.Containers {
		if c.InScope && c.State == "running" {
			counts[c.Kind]++
		}
	}
	for _, k := range kinds() {
		if name := string(k); name != "" || counts[name] > 0 {
			v.Kinds = append(v.Kinds, kindCount{kindName(name), counts[name]})
		}
	}
	index := make(map[string]int, len(v.Containers))
	for i, c := range v.Containers {
		index[c.ID] = i
	}
	v.Order.apply(v.Containers)
	v.Rows = make([]tableRow, len(v.Containers))
	for i, c := range v.Containers {
		v.Rows[i] = tableRow{c, index[c.ID], v.Order.hides(c), spark(v.history.sparks[c.ShortID])}
		if !v.Rows[i].Hidden {
			v.Shown++
		}
	}
	return v
}

// page serves the whole page.
func (p *pages) page(w http.ResponseWriter, r *http.Request) {
	writePage(w, p.template, "page", p.view(r, p.state(r)))
}

// live serves the part of the page that changes, or 304 if it did not.
func (p *pages) live(w http.ResponseWriter, r *http.Request) {
	s := p.state(r)
	w.Header().Set("ETag", s.tag)
	if r.Header.Get("If-None-Match") == s.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	writePage(w, p.template, "live", p.view(r, s))
}

// writePage renders a template with a policy that allows its own style and script only.
func writePage(w http.ResponseWriter, t *template.Template, name string, data interface{ nonce() string }) {
	var body bytes.Buffer
	if err := t.ExecuteTemplate(&body, name, data); err != nil {
		writeText(w, http.StatusInternalServerError, err.Error()+"\n")
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	nonce := "'nonce-" + data.nonce() + "'"
	h.Set("Content-Security-Policy", "default-src 'none'; connect-src 'self'; img-src data:; style-src "+nonce+"; script-src "+nonce+
		"; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	w.Write(body.Bytes())
}

func (f frame) nonce() string { return f.Nonce }

// Value formats the value of a rule in the rule's unit.
func (v view) Value(rule string, value *float64) string { return v.unit[rule].Format(*value) }

// Signed formats a difference of two values of a rule.
func (v view) Signed(rule string, value *float64) string {
	return v.unit[rule].FormatDifference(*value)
}

// Ago is the time since t.
func (v view) Ago(t time.Time) string {
	d := v.Now.Sub(t)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(max(0, d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

// Dashboard is the address of a container's dashboard; "" without Grafana.
func (v view) Dashboard(id string) string {
	if v.Grafana == "" || id == "" {
		return ""
	}
	return v.Grafana + "/d/estiba-container/estiba-container?var-id=" + url.QueryEscape(id)
}

// heading is the head of a column.
type heading struct {
	Key, Title, Query, Sort string
	Number                  bool
}

// Headings are the heads of the sortable columns. A second click turns the order round,
// a third returns to the order of the decisions.
func (v view) Headings() []heading {
	all := make([]heading, len(columns))
	for i, c := range columns {
		h := heading{Key: c.Key, Title: c.Title, Number: c.Number, Query: v.Order.query(c.Key, c.Number)}
		if v.Order.Sort == c.Key {
			h.Sort = map[bool]string{true: "descending", false: "ascending"}[v.Order.Descending]
			if h.Query = v.Order.query(c.Key, !c.Number); v.Order.Descending != c.Number {
				h.Query = v.Order.query("", false)
			}
		}
		all[i] = h
	}
	return all
}

func kindName(k string) string {
	if k == "" {
		return "no kind"
	}
	return k
}

// words is a word of a closed list as text.
func words[T ~string](w T) string { return strings.ReplaceAll(string(w), "_", " ") }

func functions() template.FuncMap {
	return template.FuncMap{
		"visible": visible,
		"short":   container.ShortID,
		"words":   words[policy.Reason],
		"result":  func(v any) string { return words(fmt.Sprint(v)) },
		"percent": func(v *float64) string {
			if v == nil {
				return "–"
			}
			return fmt.Sprintf("%.2f %%", *v)
		},
		"share":   func(v *float64) string { return fmt.Sprintf("%.0f %%", 100**v) },
		"seconds": func(v float64) string { return fmt.Sprintf("%.1f s", v) },
		"age":     func(v *float64) float64 { return *v },
		"raw":     func(v *float64) string { return fmt.Sprint(*v) },
		"clock":   func(t time.Time) string { return t.UTC().Format("15:04:05") },
		"minute":  func(t time.Time) string { return t.UTC().Format("15:04") },
		"iso":     func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") },
		"utc":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" },
		"shows":   func() any { return shown },
		"join": func(w []policy.Protection) string {
			s := make([]string, len(w))
			for i, one := range w {
				s[i] = words(one)
			}
			return strings.Join(s, ", ")
		},
	}
}
