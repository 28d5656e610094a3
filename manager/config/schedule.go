package config

import (
	"regexp"
	"strings"
	"time"
	_ "time/tzdata" // images from scratch and small systems have no time zones

	"go.yaml.in/yaml/v3"
)

// Schedule is when a rule may kill.
type Schedule struct {
	TimeZone string // IANA name
	Location *time.Location
	Windows  []Window
}

// Window is a time of the day, on some days of the week.
type Window struct {
	Days     [7]bool       // on which it begins, by time.Weekday
	From, To time.Duration // on the clock, since 00:00; a To before From is on the next day
}

type weekday string

var weekdays = []weekday{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} // as time.Weekday

func (r *reader) schedule(n *yaml.Node, path string) *Schedule {
	s := &Schedule{}
	r.mapping(n, path, []string{"time_zone", "windows"}, map[string]func(*yaml.Node, string){
		"time_zone": func(n *yaml.Node, p string) { r.timeZone(n, p, s) },
		"windows": func(n *yaml.Node, p string) {
			r.list(n, p, func(n *yaml.Node, p string) { s.Windows = append(s.Windows, r.window(n, p)) })
			switch {
			case n.Kind == yaml.SequenceNode && len(n.Content) == 0:
				r.fail(n, p, "has no windows, so the rule would never kill")
			case n.Kind == yaml.SequenceNode && len(n.Content) > maxWindows:
				r.fail(n, p, "has %d windows, at most %d are allowed", len(n.Content), maxWindows)
			}
		},
	})
	return s
}

// copiedZone are the copies of the database that some hosts have: those in right/ count
// leap seconds.
var copiedZone = regexp.MustCompile(`^(right|posix)/`)

// timeZone reads a name that means one place, on each host: EST has no daylight saving
// time, and Local is whatever the host is set to.
func (r *reader) timeZone(n *yaml.Node, path string, s *Schedule) {
	if r.text(n, path, &s.TimeZone); s.TimeZone == "" {
		return
	}
	if !strings.Contains(s.TimeZone, "/") && s.TimeZone != "UTC" {
		r.fail(n, path, "%q is not a time zone with the name of a place, such as Europe/Madrid, nor UTC", s.TimeZone)
		return
	}
	location, err := time.LoadLocation(s.TimeZone)
	if copied := copiedZone.MatchString(s.TimeZone); err != nil || copied {
		r.fail(n, path, "%q is not in the IANA time zone database; expected a name such as Europe/Madrid", s.TimeZone)
		return
	}
	s.Location = location
}

func (r *reader) window(n *yaml.Node, path string) Window {
	w := Window{Days: [7]bool{true, true, true, true, true, true, true}}
	from, to := time.Duration(-1), time.Duration(-1)
	r.mapping(n, path, []string{"from", "to"}, map[string]func(*yaml.Node, string){
		"days": func(n *yaml.Node, p string) { w.Days = r.days(n, p) },
		"from": func(n *yaml.Node, p string) { r.clock(n, p, "23:59", &from) },
		"to":   func(n *yaml.Node, p string) { r.clock(n, p, "24:00", &to) },
	})
	if from >= 0 && from == to {
		r.fail(n, path, "begins and ends at the same time; a whole day is from 00:00 to 24:00")
	}
	w.From, w.To = from, to
	return w
}

func (r *reader) days(n *yaml.Node, path string) (days [7]bool) {
	r.list(n, path, func(n *yaml.Node, p string) {
		var day weekday
		word(r, n, p, &day, weekdays...)
		for i, one := range weekdays {
			if one == day && days[i] {
				r.fail(n, p, "%s is in the list already", day)
			}
			days[i] = days[i] || one == day
		}
	})
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		r.fail(n, path, "has no days, so the window would never open")
	}
	return days
}

// clockTime is the only form: 7:00 may be in the evening, and 22.00 is a number.
var clockTime = regexp.MustCompile(`^([01][0-9]|2[0-4]):([0-5][0-9])$`)

// clock reads a time of the day.
func (r *reader) clock(n *yaml.Node, path, latest string, to *time.Duration) {
	m := clockTime.FindStringSubmatch(n.Value)
	if n.Kind != yaml.ScalarNode || m == nil {
		r.fail(n, path, "expected a time from 00:00 to %s, with two digits each, found %s", latest, describe(n))
		return
	}
	if n.Value > latest {
		r.fail(n, path, "%s is after %s", n.Value, latest)
		return
	}
	hours, _ := time.ParseDuration(m[1] + "h" + m[2] + "m")
	*to = hours
}
