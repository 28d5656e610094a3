// Package ruleset adapts the shipped rules, which are for a scrape every 5 s and our job
// names, to the scrape interval and the job names of another Prometheus.
package ruleset

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Shipped is the scrape interval of the rules in prometheus/rules.
const Shipped = 5 * time.Second

// Options say what to adapt the rules to. The zero value changes nothing.
type Options struct {
	Scrape       time.Duration // scrape interval; 0: Shipped
	Job          string        // job of the exporters; "": estiba
	ManagerJob   string        // job of the managers; "": estiba-manager
	Alertmanager string        // job of the Alertmanagers; "": alertmanager
	NoStack      bool          // without alerts about Prometheus and Alertmanager
	NoManager    bool          // without alerts about managers
	Runbooks     string        // URL of the folder with the runbooks, or of one with NAME for its name; "": as in the rules
}

// Intervals are those for which ready-made rules are shipped.
func Intervals() []time.Duration {
	return []time.Duration{Shipped, 15 * time.Second, 30 * time.Second, time.Minute}
}

// The shortest windows, in scrapes. A rate needs two samples, and one scrape may fail or
// be late; a condition that holds in one scrape alone may be a failed scrape.
const (
	window = 4 // of ranges, and of ages of samples
	wait   = 3 // of for and keep_firing_for
)

func (o Options) scrape() time.Duration {
	if o.Scrape == 0 {
		return Shipped
	}
	return o.Scrape
}

// validate rejects what would make rules that never work.
func (o Options) validate() error {
	if s := o.scrape(); s < time.Second || s > 2*time.Minute || s%time.Second != 0 {
		// With more, a series is stale (5 min) before two scrapes have failed.
		return fmt.Errorf("scrape interval %s: must be whole seconds, from 1s to 2m", s)
	}
	for name, job := range map[string]string{"job": o.Job, "manager job": o.ManagerJob, "alertmanager job": o.Alertmanager} {
		if strings.ContainsAny(job, "\"\\\n{}'") {
			return fmt.Errorf("%s %q: quotes, backslashes and braces are not supported", name, job)
		}
	}
	return nil
}

// rangeOf is a range of a selector; one of a subquery has a colon.
var rangeOf = regexp.MustCompile(`\[(\d+)([smhd])\]`)

// waits are for and keep_firing_for.
var waits = regexp.MustCompile(`(?m)^(\s+(?:for|keep_firing_for): )(\d+)([smhd])$`)

// sampleAges are comparisons of a sample's time, or of a time in a sample, with the clock.
var sampleAges = regexp.MustCompile(`(timestamp\(up\) > time\(\) - |time\(\) - estiba_manager_last_success_timestamp_seconds > )(\d+)\b`)

// tooSeldom is the limit of the mean scrape interval: that of two samples in a window.
var tooSeldom = regexp.MustCompile(`(\) > )(\d+)( # seconds between scrapes)`)

// Adapt returns a rules file adapted to the options.
func Adapt(rules string, o Options) (string, error) {
	if err := o.validate(); err != nil {
		return "", err
	}
	var out strings.Builder
	for _, group := range split(rules, groupStart, "  #") {
		if o.NoStack && named(group, "estiba-stack") || o.NoManager && named(group, "estiba-manager") {
			continue
		}
		for _, rule := range split(group, ruleStart, "      #") {
			out.WriteString(o.rule(rule))
		}
	}
	text := out.String()
	for _, r := range []struct{ from, to string }{
		{`job="estiba"`, o.Job}, {`job="estiba-manager"`, o.ManagerJob}, {`job="alertmanager"`, o.Alertmanager},
	} {
		if r.to != "" {
			text = strings.ReplaceAll(text, r.from, `job="`+r.to+`"`)
		}
	}
	if o.Runbooks != "" {
		url := o.Runbooks
		if !strings.Contains(url, "NAME") {
			url = strings.TrimSuffix(url, "/") + "/NAME"
		}
		text = runbook.ReplaceAllStringFunc(text, func(s string) string {
			m := runbook.FindStringSubmatch(s)
			return m[1] + strings.ReplaceAll(url, "NAME", m[2])
		})
	}
	return text, nil
}

var runbook = regexp.MustCompile(`(runbook_url: '?)[^\s']+/(\w+(?:\.md)?)\b`)

// groupName is the first line of a group, below the comments above it.
var groupName = regexp.MustCompile(`(?m)^  - name: (\S+)$`)

// named reports whether a group has this name.
func named(group, name string) bool {
	m := groupName.FindStringSubmatch(group)
	return m != nil && m[1] == name
}

// rule adapts one rule, or what is before the first one of a group.
func (o Options) rule(b string) string {
	b = rangeOf.ReplaceAllStringFunc(b, func(s string) string {
		m := rangeOf.FindStringSubmatch(s)
		return "[" + short(o.atLeast(window, m[1], m[2])) + "]"
	})
	atLeast := func(s string, re *regexp.Regexp) string {
		m := re.FindStringSubmatch(s)
		return m[1] + strconv.Itoa(int(o.atLeast(window, m[2], "s").Seconds()))
	}
	b = sampleAges.ReplaceAllStringFunc(b, func(s string) string { return atLeast(s, sampleAges) })
	b = tooSeldom.ReplaceAllStringFunc(b, func(s string) string {
		m := tooSeldom.FindStringSubmatch(s)
		return m[1] + strconv.Itoa(int(max(30*time.Second, window*o.scrape()).Seconds())/2) + m[3]
	})
	var said *strings.Replacer // of the description, which says for how long
	b = waits.ReplaceAllStringFunc(b, func(s string) string {
		m := waits.FindStringSubmatch(s)
		if m[2] == "0" {
			return s
		}
		was, now := o.atLeast(0, m[2], m[3]), o.atLeast(wait, m[2], m[3])
		if was != now && strings.HasSuffix(m[1], " for: ") {
			said = strings.NewReplacer("for "+words(was), "for "+words(now), "For "+words(was), "For "+words(now))
		}
		return m[1] + short(now)
	})
	if said != nil {
		b = said.Replace(b)
	}
	return b
}

// atLeast is a duration, or as many scrapes if that is longer.
func (o Options) atLeast(scrapes int, number, unit string) time.Duration {
	n, _ := strconv.Atoi(number)
	d := time.Duration(n) * map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[unit]
	return max(d, time.Duration(scrapes)*o.scrape())
}

// short is a duration in Prometheus' notation: 90s, 2m, 1h, 1d.
func short(d time.Duration) string {
	for _, u := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d%u.of == 0 {
			return fmt.Sprintf("%d%s", d/u.of, u.name)
		}
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

// words is a duration as the descriptions have it: 30 s, one minute, five minutes.
func words(d time.Duration) string {
	if d%time.Minute != 0 {
		return fmt.Sprintf("%d s", d/time.Second)
	}
	names := []string{1: "one", "two", "three", "four", "five", "six"}
	n, text := int(d/time.Minute), ""
	if text = strconv.Itoa(n); n < len(names) {
		text = names[n]
	}
	if n == 1 {
		return text + " minute"
	}
	return text + " minutes"
}

// The first lines of groups and rules.
var (
	groupStart = regexp.MustCompile(`^  - name: `)
	ruleStart  = regexp.MustCompile(`^      - (?:alert|record): `)
)

// split splits text before each line that matches start, and before the comments above
// such a line.
func split(text string, start *regexp.Regexp, comment string) (parts []string) {
	var part, above string
	for line := range strings.SplitAfterSeq(text, "\n") {
		switch {
		case strings.HasPrefix(line, comment):
			above += line
			continue
		case start.MatchString(line):
			parts = append(parts, part)
			part = ""
		}
		part += above + line
		above = ""
	}
	return append(parts, part+above)
}
