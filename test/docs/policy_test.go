package docs

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/common/model"

	"github.com/estiba/estiba/manager/config"
)

const policy = "docs/policy.md"

// policyRows are the keys that docs/policy.md has rows for, with their
// defaults: "max_kills_per_tick" → "20".
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

// TestPolicyKeys asks the parser for its keys, by giving it ones that it
// cannot know, and wants a row for each, and none more.
func TestPolicyKeys(t *testing.T) {
	_, err := config.Parse([]byte("none: 0\nprotect: {none: 0}\nkeep: [{none: 0}]\nrules: [{none: 0, relief: {none: 0}}]\n"))
	problems, ok := err.(config.Problems)
	if !ok {
		t.Fatalf("the parser takes unknown keys: %v", err)
	}
	known := map[string]bool{}
	for _, p := range problems {
		_, list, unknown := strings.Cut(p.Message, "unknown key, want one of ")
		if !unknown {
			continue
		}
		at := regexp.MustCompile(`\[\d+\]`).ReplaceAllString(strings.TrimSuffix(p.Path, "none"), "[]")
		for _, key := range strings.Split(list, ", ") {
			known[at+key] = true
		}
	}
	// These only hold others, or are explained with what holds them.
	for _, inner := range []string{"rules", "protect", "keep[].by", "keep[].min"} {
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
			t.Errorf("%s has a row for %s, which is no key of a policy file", policy, key)
		}
	}
}

// TestPolicyDefaults compares the rows' defaults with what a policy file gets
// that says only what it has to.
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
		"rules[].dry_run": fmt.Sprint(rule.DryRun), "rules[].relief.by": string(rule.Relief.By),
		"rules[].relief.at_least": fmt.Sprint(rule.Relief.AtLeast), "rules[].relief.after": model.Duration(rule.Relief.After).String(),
		"rules[].relief.stop_after": fmt.Sprint(rule.Relief.StopAfter), "rules[].relief.resume_after": model.Duration(rule.Relief.ResumeAfter).String(),
	}
	if len(c.Protect.Labels) > 0 {
		want["protect.labels"] = fmt.Sprint(c.Protect.Labels)
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
