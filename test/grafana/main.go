// Command grafana asks a running Grafana whether it has Estiba's dashboards as they are
// committed, and whether each query of theirs is answered through its data source:
//
//	go run ./test/grafana [-url http://localhost:3000] [-user admin] [-password-file FILE]
//
// It changes nothing. The last line is "N passed, N failed".
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
	"github.com/estiba/estiba/test/prometheus"
)

func main() {
	address := flag.String("url", "http://localhost:3000", "where Grafana is")
	user := flag.String("user", "admin", "who asks; a viewer will do")
	passwordFile := flag.String("password-file", "", "a file with that user's password; without it, nobody is named")
	flag.Parse()
	base, err := url.Parse(*address)
	if err == nil && *passwordFile != "" {
		var password []byte
		password, err = os.ReadFile(*passwordFile)
		base.User = url.UserPassword(*user, strings.TrimSpace(string(password)))
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("no password: %w\n  make up writes it there when it starts a Grafana; for another one say GRAFANA_PASSWORD_FILE=FILE, or nothing after the = for a Grafana that asks for none", err)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "grafana:", err)
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	passed, faults := look(ctx, base)
	for _, f := range faults {
		fmt.Println("FAILED", f)
	}
	fmt.Printf("%d passed, %d failed\n", passed, len(faults))
	if len(faults) > 0 {
		os.Exit(1)
	}
}

// look gives how many checks passed, and what is wrong.
func look(ctx context.Context, base *url.URL) (passed int, faults []string) {
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
		err = errors.New("what answers is no Grafana")
	}
	if err != nil {
		err = fmt.Errorf("%w\n  Is there one at %s? make up starts one where the image can be had; GRAFANA_URL=http://HOST:PORT names another", err, base.Redacted())
	}
	if !check("a Grafana answers", err) {
		return passed, faults
	}
	if err := get(ctx, base, "/api/search?limit=1", new([]any)); err != nil {
		check("Grafana lets us in", fmt.Errorf("%w\n  Is the password that of the user %q?", err, base.User.Username()))
		return passed, faults
	}
	var source struct{ Status, Message string }
	err = get(ctx, base, "/api/datasources/uid/"+grafana.DataSourceUID+"/health", &source)
	if err == nil && source.Status != "OK" {
		err = fmt.Errorf("%s %s", source.Status, source.Message)
	}
	check("the data source "+grafana.DataSourceUID+" works", err)
	for _, want := range grafana.All() {
		var got struct {
			Meta      struct{ Provisioned bool }
			Dashboard struct {
				Title  string
				Panels []struct{ Title string }
			}
		}
		err := get(ctx, base, "/api/dashboards/uid/"+want.UID, &got)
		if err == nil {
			err = same(want, got.Dashboard.Title, got.Meta.Provisioned, func(yield func(string) bool) {
				for _, p := range got.Dashboard.Panels {
					if !yield(p.Title) {
						return
					}
				}
			})
		}
		check("dashboard "+want.UID, err)
	}
	answers, err := prometheus.CheckAgainst(ctx, base.JoinPath("/api/datasources/proxy/uid", grafana.DataSourceUID).String())
	if !check("queries go through the data source", err) {
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

// same compares a dashboard with the committed one.
func same(want grafana.Dashboard, title string, provisioned bool, panels func(yield func(string) bool)) error {
	var titles []string
	for _, p := range want.Panels {
		titles = append(titles, p.Title)
	}
	switch got := slices.Collect(panels); {
	case title != want.Title:
		return fmt.Errorf("its title is %q, want %q", title, want.Title)
	case !provisioned:
		return fmt.Errorf("it was not provisioned from a file")
	case !slices.Equal(got, titles):
		return fmt.Errorf("its panels are %q, want %q", got, titles)
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
		return fmt.Errorf("its answer is not JSON: %.100q", body)
	}
	return nil
}
