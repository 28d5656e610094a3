package policy

import "time"

// Schedule is when a rule may kill: while the clock on the wall shows a time in one of
// the windows. An hour that a change to daylight saving time skips is in none, one that
// it repeats is in them twice. nil is always.
type Schedule struct {
	Location *time.Location
	Windows  []Window
}

// Window is a time of the day, on some days of the week.
type Window struct {
	Days [7]bool // on which it begins, by time.Weekday
	// From and To are times on the clock since 00:00, at most 24h. A To that is not after
	// From is on the next day.
	From, To time.Duration
}

// has reports whether a window has a time of the clock. today is its day of the week.
func (w Window) has(today time.Weekday, clock time.Duration) bool {
	if w.From < w.To {
		return w.Days[today] && clock >= w.From && clock < w.To
	}
	yesterday := (today + 6) % 7
	return w.Days[today] && clock >= w.From || w.Days[yesterday] && clock < w.To
}

// Open reports whether at is in a window.
func (s *Schedule) Open(at time.Time) bool {
	if s == nil {
		return true
	}
	local := at.In(s.Location)
	hour, minute, second := local.Clock()
	clock := time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute + time.Duration(second)*time.Second
	for _, w := range s.Windows {
		if w.has(local.Weekday(), clock) {
			return true
		}
	}
	return false
}

// searchDays is how far Opens looks: a window of one day a week, and once more if the
// clock skips it.
const searchDays = 15

// Opens is the earliest time after at that is in a window. It is for times at which the
// schedule is not open; false: none of its windows opens within two weeks.
//
// A window opens when the clock reaches its From, or when the clock is changed.
func (s *Schedule) Opens(at time.Time) (time.Time, bool) {
	if s == nil {
		return time.Time{}, false
	}
	local := at.In(s.Location)
	changes, offsets := s.changes(local)
	var first time.Time
	opens := func(t time.Time) {
		if t.After(at) && (first.IsZero() || t.Before(first)) && s.Open(t) {
			first = t
		}
	}
	for _, t := range changes {
		opens(t)
	}
	for day := range searchDays + 1 {
		midnight := time.Date(local.Year(), local.Month(), local.Day()+day, 0, 0, 0, 0, time.UTC)
		for _, w := range s.Windows {
			for _, offset := range offsets { // only that of the time itself gives From on its clock
				opens(midnight.Add(w.From - offset).In(s.Location))
			}
		}
	}
	return first, !first.IsZero()
}

// changes are the times from local on at which the clock is changed, and the offsets
// from UTC that it has before, between and after them.
func (s *Schedule) changes(local time.Time) (changes []time.Time, offsets []time.Duration) {
	for t, end := local, local.AddDate(0, 0, searchDays); ; {
		_, seconds := t.Zone()
		offsets = append(offsets, time.Duration(seconds)*time.Second)
		_, next := t.ZoneBounds()
		if next.IsZero() || next.After(end) {
			return changes, offsets
		}
		changes = append(changes, next)
		t = next
	}
}

// until is when the schedule opens, for people.
func (s *Schedule) until(at time.Time) string {
	opens, ok := s.Opens(at)
	if !ok {
		return "not within two weeks"
	}
	return "until " + opens.Format(ScheduleTime)
}

// ScheduleTime is the format of times of a schedule, with the zone's abbreviation.
const ScheduleTime = "Mon 2006-01-02 15:04 MST"

// clockSet: the clock was set, so it is not known whether the rule is in its schedule.
func clockSet(t *tick, _ *candidate) bool { return t.rule.Schedule != nil && t.world.ClockSet }

// outOfSchedule: the rule may kill in its windows only.
func outOfSchedule(t *tick, _ *candidate) bool { return !t.rule.Schedule.Open(t.world.Now) }
