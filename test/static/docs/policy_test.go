package docs

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/common/model"

	"github.com/estiba/estiba/manager/config"
)

const policy = "docs/policy.md"

// policyRows maps each key with a row in docs/policy.md to its default:
// "max_kills_per_tick" → "20".
func policyRows(t *testing.T, tr tree) map[string]string {
	t.Helper()
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_.\\[\\]]+)` \\| ([^|]*) \\|").FindAllStringSubmatch(tr.read(t, policy), -1) {
		name := m[1]
		if strings.HasPrefix(name, "relief.") {
			name = "rules[]." + name
		}
		rows[name] = strings.Trim(m[2], "` ")
	}
	return rows
}

// Errors of the parser end with the keys it knows, or hold a bound as a number
// or duration. Nothing here depends on the other words of a message.
var (
	keyList = regexp.MustCompile(`[a-z_]+(?:, [a-z_]+)+$`)
	bound   = regexp.MustCompile(`\b[0-9]+[a-z]*\b`)
)

// TestPolicyKeys gets the parser's keys out of its errors about unknown ones, and
// compares them with the rows, in both directions.
func TestPolicyKeys(t *testing.T) {
	_, err := config.Parse([]byte("none: 0\nprotect: {none: 0}\nkeep: [{none: 0}]\nrules: [{none: 0, relief: {none: 0}, schedule: {none: 0, windows: [{none: 0}]}}]\n"))
	var problems config.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("the parser accepts unknown keys: %v", err)
	}
	known := map[string]bool{}
	for _, p := range problems {
		list := keyList.FindString(p.Message)
		if !strings.HasSuffix(p.Path, "none") || list == "" {
			continue
		}
		at := regexp.MustCompile(`\[\d+\]`).ReplaceAllString(strings.TrimSuffix(p.Path, "none"), "[]")
		for _, key := range strings.Split(list, ", ") {
			known[at+key] = true
		}
	}
	// These only contain others, or are described with what contains them.
	for _, inner := range []string{
		"rules", "protect", "rules[].schedule.time_zone", "rules[].schedule.windows",
		"rules[].schedule.windows[].days", "rules[].schedule.windows[].from", "rules[].schedule.windows[].to",
	} {
		if !known[inner] {
			t.Errorf("the parser does not know %s", inner)
		}
		delete(known, inner)
	}
	rows := policyRows(t, readTree(t))
	for key := range known {
		if _, ok := rows[key]; !ok {
			t.Errorf("%s has no row for the key %s", policy, key)
		}
	}
	for key := range rows {
		if !known[key] {
			t.Errorf("%s has a row for %s, which is not a key of a policy file", policy, key)
		}
	}
}

// TestPolicyLimits sets each number too large, and wants the bound that the parser
// reports in the key's row.
func TestPolicyLimits(t *testing.T) {
	tr := readTree(t)
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_.\\[\\]]+)` \\| [^|]* \\| (.*) \\|$").FindAllStringSubmatch(tr.read(t, policy), -1) {
		rows[m[1]] = m[2]
	}
	limits := map[string]int{}
	for _, text := range []string{
		"interval: 200y\nmax_sample_age: 200y\nmax_kills_per_tick: 9999999\nmax_kills_per_hour: 9999999\nkeep: [{by: kind, min: 9999999}]\n",
		"rules: [{max_kills_per_hour: 9999999, for: 200y, announce: 200y, grace: 200y, cooldown: 200y, relief: {stop_after: 9999999, resume_after: 200y}}]\n",
	} {
		_, err := config.Parse([]byte(text))
		var problems config.Problems
		errors.As(err, &problems)
		for _, p := range problems {
			limit := ""
			for _, value := range bound.FindAllString(p.Message, -1) {
				if value != "200y" && value != "9999999" && limit == "" {
					limit = value
				}
			}
			if limit == "" {
				continue
			}
			key := strings.TrimPrefix(regexp.MustCompile(`\[\d+\]`).ReplaceAllString(p.Path, "[]"), "rules[].")
			for _, name := range []string{key, "rules[]." + key} {
				if row, ok := rows[name]; ok {
					limits[name]++
					if !strings.Contains(row, "`"+limit+"`") {
						t.Errorf("%s: the row of %s does not state the upper bound %s", policy, name, limit)
					}
				}
			}
		}
	}
	if len(limits) != 12 {
		t.Errorf("%d bounds are compared, want 12: %v", len(limits), limits)
	}
}

// TestPolicyExamples parses the examples.
func TestPolicyExamples(t *testing.T) {
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(readTree(t).read(t, policy), -1)
	if len(examples) < 3 {
		t.Fatalf("%d examples found", len(examples))
	}
	for _, m := range examples {
		var err error
		if strings.Contains(m[1], "\ntests:") {
			_, err = config.ParseTests([]byte(m[1]), []string{"not_selected"})
		} else {
			_, err = config.Parse([]byte(m[1]))
		}
		if err != nil {
			t.Errorf("%s\n%v", m[1], err)
		}
	}
}

// TestPolicyDefaults compares the rows' defaults with those of a policy file that
// sets only the required keys.
func TestPolicyDefaults(t *testing.T) {
	c, err := config.Parse([]byte("mode: live\nkeep: []\nrules: [{name: r, query: up, action: stop}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	rule := c.Rules[0]
	want := map[string]string{
		"interval": model.Duration(c.Interval).String(), "max_sample_age": model.Duration(c.MaxSampleAge).String(),
		"max_kills_per_tick": fmt.Sprint(c.MaxKillsPerTick), "scope": string(c.Scope),
		"protect.names": fmt.Sprint(c.Protect.Names), "protect.images": fmt.Sprint(c.Protect.Images), "protect.labels": "{}",
		"rules[].for": model.Duration(rule.For).String(), "rules[].announce": model.Duration(rule.Announce).String(),
		"rules[].grace": model.Duration(rule.Grace).String(), "rules[].cooldown": model.Duration(rule.Cooldown).String(),
		"rules[].remove_volumes": fmt.Sprint(rule.RemoveVolumes), "rules[].dry_run": fmt.Sprint(rule.DryRun), "rules[].relief.by": string(rule.Relief.By),
		"rules[].relief.at_least": fmt.Sprint(rule.Relief.AtLeast), "rules[].relief.after": model.Duration(rule.Relief.After).String(),
		"rules[].relief.stop_after": fmt.Sprint(rule.Relief.StopAfter), "rules[].relief.resume_after": model.Duration(rule.Relief.ResumeAfter).String(),
	}
	if len(c.Protect.Labels) > 0 {
		want["protect.labels"] = fmt.Sprint(c.Protect.Labels)
	}
	if c.MaxKillsPerHour == 0 && rule.MaxKillsPerHour == 0 {
		want["max_kills_per_hour"], want["rules[].max_kills_per_hour"] = "none", "none"
	}
	if rule.MaxKills == c.MaxKillsPerTick {
		want["rules[].max_kills"] = "max_kills_per_tick"
	}
	for key, stands := range policyRows(t, readTree(t)) {
		if value, ok := want[key]; ok && stands != value {
			t.Errorf("%s: the default of %s is %s, not %s", policy, key, value, stands)
		} else if !ok && !strings.Contains(stands, "required") && stands != "see below" {
			t.Errorf("%s: %s has the default %q, which nothing compares", policy, key, stands)
		}
	}
}
