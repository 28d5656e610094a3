// Command smoke checks a running Grafana: whether it has the committed dashboards, and
// whether its data source answers all of their queries:
//
//	go run ./grafana/smoke [-url http://localhost:3000] [-user admin] [-password-file FILE] [-datasource UID]
//
// With -datasource it checks dashboards that were imported by hand, with that data source.
// It is read-only. The last line of its output is "N passed, N failed".
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/estiba/estiba/grafana"
	"github.com/estiba/estiba/grafana/queries"
)

func main() {
	address := flag.String("url", "http://localhost:3000", "URL of Grafana.")
	user := flag.String("user", "admin", "User for basic authentication; the role Viewer is enough.")
	passwordFile := flag.String("password-file", "", "File with the password of the user. Empty for anonymous access.")
	source := flag.String("datasource", grafana.DataSourceUID, "UID of the data source. With another than the provisioned one, dashboards may have been imported by hand.")
	flag.Parse()
	base, err := url.Parse(*address)
	if err == nil && *passwordFile != "" {
		var password []byte
		password, err = os.ReadFile(*passwordFile)
		base.User = url.UserPassword(*user, strings.TrimSpace(string(password)))
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("no password: %w\n  make up writes this file when it starts Grafana. For another Grafana set GRAFANA_PASSWORD_FILE=FILE, or leave it empty for anonymous access", err)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "grafana:", err)
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	passed, faults := look(ctx, base, *source)
	for _, f := range faults {
		fmt.Println("FAILED", f)
	}
	fmt.Printf("%d passed, %d failed\n", passed, len(faults))
	if len(faults) > 0 {
		os.Exit(1)
	}
}

// look returns the number of passed checks, and the faults.
func look(ctx context.Context, base *url.URL, uid string) (passed int, faults []string) {
	check := func(what string, err error) bool {
		if err != nil {
			faults = append(faults, fmt.Sprintf("%s: %v", what, err))
			return false
		}
		passed++
		return true
	}
	var health struct{ Database string }
	err := get(ctx, base, "/api/health", &health)
	if err == nil && health.Database == "" {
		err = errors.New("not a Grafana")
	}
	if err != nil {
		err = fmt.Errorf("%w\n  Is Grafana running at %s? make up starts one if its image is available; GRAFANA_URL=http://HOST:PORT selects another", err, base.Redacted())
	}
	if !check("Grafana answers", err) {
		return passed, faults
	}
	if err := get(ctx, base, "/api/search?limit=1", new([]any)); err != nil {
		check("login", fmt.Errorf("%w\n  Is this the password of the user %q?", err, base.User.Username()))
		return passed, faults
	}
	var answer struct{ Status, Message string }
	err = get(ctx, base, "/api/datasources/uid/"+uid+"/health", &answer)
	if err == nil && answer.Status != "OK" {
		err = fmt.Errorf("%s %s", answer.Status, answer.Message)
	}
	check("data source "+uid, err)
	for _, want := range grafana.All() {
		var got struct {
			Meta      struct{ Provisioned bool }
			Dashboard struct {
				Title  string
				Panels []panel
			}
		}
		err := get(ctx, base, "/api/dashboards/uid/"+want.UID, &got)
		if err == nil {
			err = same(want, got.Dashboard.Title, got.Meta.Provisioned || uid != grafana.DataSourceUID, titles(got.Dashboard.Panels))
		}
		check("dashboard "+want.UID, err)
	}
	answers, err := queries.CheckAgainst(ctx, base.JoinPath("/api/datasources/proxy/uid", uid).String())
	if !check("queries through the data source", err) {
		return passed, faults
	}
	for _, a := range answers {
		err := a.Err
		if a.Empty() {
			err = fmt.Errorf("no data for %s", a.Asked)
		}
		check(a.Dashboard+", "+a.Panel, err)
	}
	return passed, faults
}

// panel is a panel of Grafana's; folded rows have panels.
type panel struct {
	Title  string
	Panels []panel
}

func titles(panels []panel) (all []string) {
	for _, p := range panels {
		all = append(append(all, p.Title), titles(p.Panels)...)
	}
	return all
}

// same compares a dashboard with the committed one.
func same(want grafana.Dashboard, title string, provisioned bool, got []string) error {
	var wanted []string
	for _, p := range want.Panels {
		wanted = append(wanted, p.Title)
	}
	switch {
	case title != want.Title:
		return fmt.Errorf("title %q, want %q", title, want.Title)
	case !provisioned:
		return errors.New("not provisioned from a file")
	case !slices.Equal(got, wanted):
		return fmt.Errorf("panels %q, want %q", got, wanted)
	}
	return nil
}

func get(ctx context.Context, base *url.URL, path string, into any) error {
	path, query, _ := strings.Cut(path, "?")
	where := base.JoinPath(path)
	where.RawQuery = query
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %.200s", resp.Status, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("response is not JSON: %.100q", body)
	}
	return nil
}
