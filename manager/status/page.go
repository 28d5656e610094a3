package status

import (
	"bytes"
	"crypto/rand"
	_ "embed" // the page is part of the program
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/policy"
)

//go:embed page.html
var pageSource string

// view is what the page's template reads.
type view struct {
	Decisions
	Now   time.Time
	Nonce string
	Kills []audit.Record
	Kinds []kindCount
}

type kindCount struct {
	Kind string
	N    int
}

// shownKills is how many kills the page shows; the API has more.
const shownKills = 20

// page renders everything on the server: without scripts it is complete, and
// the script only fetches it again when there is a new tick.
func (s Site) page(w http.ResponseWriter, _ *http.Request) {
	_, _, kills := s.Store.last()
	raw := make([]byte, 12)
	rand.Read(raw) // never fails, see crypto/rand
	v := view{Decisions: s.decisions(), Now: s.Now(), Nonce: base64.RawURLEncoding.EncodeToString(raw), Kills: kills[:min(len(kills), shownKills)]}
	counts := map[string]int{}
	for _, r := range v.Containers {
		if r.InScope && r.State == "running" {
			counts[r.Kind]++
		}
	}
	for _, k := range kinds() {
		if name := string(k); name != "" || counts[name] > 0 {
			v.Kinds = append(v.Kinds, kindCount{kindName(name), counts[name]})
		}
	}
	t, err := template.New("page").Funcs(functions(v.Now)).Parse(pageSource)
	if err != nil {
		writeText(w, http.StatusInternalServerError, err.Error()+"\n")
		return
	}
	var body bytes.Buffer
	if err := t.Execute(&body, v); err != nil {
		writeText(w, http.StatusInternalServerError, err.Error()+"\n")
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; connect-src 'self'; img-src data:; style-src 'nonce-"+v.Nonce+"'; script-src 'nonce-"+v.Nonce+"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	w.Write(body.Bytes())
}

func kindName(k string) string {
	if k == "" {
		return "no kind"
	}
	return k
}

func functions(now time.Time) template.FuncMap {
	return template.FuncMap{
		"kind":  kindName,
		"short": container.ShortID,
		"words": func(r policy.Reason) string { return strings.ReplaceAll(string(r), "_", " ") },
		"percent": func(v *float64) string {
			if v == nil {
				return "–"
			}
			return fmt.Sprintf("%.2f %%", *v)
		},
		"value": func(v *float64) string {
			if v == nil {
				return "–"
			}
			return fmt.Sprintf("%.4g", *v)
		},
		"signed":  func(v *float64) string { return fmt.Sprintf("%+.4g", *v) },
		"share":   func(v *float64) string { return fmt.Sprintf("%.0f %%", 100**v) },
		"seconds": func(v float64) string { return fmt.Sprintf("%.1f s", v) },
		"age":     func(v *float64) float64 { return *v },
		"clock":   func(t time.Time) string { return t.UTC().Format("15:04:05") },
		"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"ago": func(t time.Time) string {
			d := now.Sub(t)
			switch {
			case d < time.Minute:
				return fmt.Sprintf("%d s ago", int(max(0, d.Seconds())))
			case d < time.Hour:
				return fmt.Sprintf("%d min ago", int(d.Minutes()))
			case d < 48*time.Hour:
				return fmt.Sprintf("%d h ago", int(d.Hours()))
			}
			return fmt.Sprintf("%d days ago", int(d.Hours()/24))
		},
		"join": func(w []policy.Why) string {
			s := make([]string, len(w))
			for i, one := range w {
				s[i] = strings.ReplaceAll(string(one), "_", " ")
			}
			return strings.Join(s, ", ")
		},
	}
}
