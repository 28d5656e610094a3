package status

import (
	"io/fs"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/estiba/estiba/docs"
)

// Each page of docs is served, and each link in it leads to a page and a heading.
func TestDocuments(t *testing.T) {
	h := Handler(Site{Store: NewStore(), Metrics: NewMetrics("")})
	served := map[string]string{}
	get := func(path string) string {
		if page, had := served[path]; had {
			return page
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		if rec.Code != 200 || !strings.Contains(rec.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %d", path, rec.Code)
		}
		served[path] = rec.Body.String()
		return served[path]
	}
	addresses := map[string]string{"docs/": "README.md"}
	err := fs.WalkDir(docs.Pages, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			address := strings.TrimSuffix(name, ".md")
			if !strings.HasPrefix(name, "runbooks/") {
				address = "docs/" + address
			}
			addresses[address], addresses[address+".md"] = name, name
		}
		return err
	})
	if err != nil || len(addresses) < 60 {
		t.Fatalf("%d pages, %v", len(addresses), err)
	}
	links := 0
	for address := range addresses {
		page := get("/" + address)
		if strings.Contains(page, "<script") || strings.Contains(page, "<img") || !strings.Contains(page, "<h1") {
			t.Errorf("%s: no heading, or an element that loads something", address)
		}
		for _, m := range regexp.MustCompile(`<a href="([^"]+)"`).FindAllStringSubmatch(page, -1) {
			base, to := &url.URL{Path: "/" + address}, m[1]
			u, err := url.Parse(to)
			if err != nil {
				t.Errorf("%s: link %s: %v", address, to, err)
				continue
			}
			if u.IsAbs() || to == "../" {
				continue
			}
			links++
			target := base.ResolveReference(u)
			text := get(target.Path)
			if target.Fragment != "" && !strings.Contains(text, ` id="`+target.Fragment+`"`) {
				t.Errorf("%s: link %s: no such heading", address, to)
			}
		}
	}
	if links < 200 {
		t.Errorf("only %d links", links)
	}
	for _, missing := range []string{"/docs/nothing", "/runbooks/..%2fsecurity", "/docs/embed.go", "/docs/runbooks/EstibaWatchdog.md", "/runbooks/x%00"} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", missing, nil))
		if rec.Code != 404 {
			t.Errorf("%s: %d", missing, rec.Code)
		}
	}
}
