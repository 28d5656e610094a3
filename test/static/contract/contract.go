// Package contract checks the metrics that exporter and manager export against those that
// rules, alerts, dashboards and policies query.
package contract

import (
	"bufio"
	"embed"
	"fmt"
	"strings"
)

//go:embed metrics.txt others.txt
var files embed.FS

// Metric is one line of the contract.
type Metric struct {
	Name   string
	Type   string // counter, gauge, histogram, record, or "" for another program's
	Always bool
	Labels []string
}

// Own returns Estiba's metrics and recorded series, in the order of the file.
func Own() ([]Metric, error) { return read("metrics.txt", 4) }

// Others returns the queried metrics of other programs.
func Others() ([]Metric, error) { return read("others.txt", 2) }

func read(file string, fields int) ([]Metric, error) {
	data, err := files.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	var all []Metric
	seen := map[string]bool{}
	lines := bufio.NewScanner(strings.NewReader(string(data)))
	for n := 1; lines.Scan(); n++ {
		f := strings.Fields(lines.Text())
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) != fields {
			return nil, fmt.Errorf("%s:%d: %d fields, want %d", file, n, len(f), fields)
		}
		m := Metric{Name: f[0]}
		if seen[m.Name] {
			return nil, fmt.Errorf("%s:%d: %s is there twice", file, n, m.Name)
		}
		seen[m.Name] = true
		if fields == 4 {
			m.Type, m.Always = f[1], f[2] == "always"
			if f[2] != "always" && f[2] != "may" {
				return nil, fmt.Errorf("%s:%d: presence %q", file, n, f[2])
			}
		}
		if labels := f[fields-1]; labels != "-" {
			m.Labels = strings.Split(labels, ",")
		}
		all = append(all, m)
	}
	return all, lines.Err()
}
