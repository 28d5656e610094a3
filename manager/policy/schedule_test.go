package policy

import (
	"fmt"
	"testing"
	"time"
	_ "time/tzdata"

	"pgregory.net/rapid"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func days(list ...time.Weekday) (set [7]bool) {
	for _, d := range list {
		set[d] = true
	}
	return set
}

var everyDay = days(0, 1, 2, 3, 4, 5, 6)

func clockOf(hour, minute int) time.Duration {
	return time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute
}

func TestSchedule(t *testing.T) {
	for _, c := range []struct {
		name, zone string
		window     Window
		at         string // UTC
		open       bool
		opens      string // on the clock of the zone
	}{
		{"within", "UTC", Window{everyDay, clockOf(8, 0), clockOf(9, 0)}, "2026-11-30T08:59:59Z", true, ""},
		{"its end", "UTC", Window{everyDay, clockOf(8, 0), clockOf(9, 0)}, "2026-11-30T09:00:00Z", false, "Tue 2026-12-01 08:00 UTC"},
		{"its begin", "UTC", Window{everyDay, clockOf(8, 0), clockOf(9, 0)}, "2026-11-30T08:00:00Z", true, ""},
		{"before it", "UTC", Window{everyDay, clockOf(8, 0), clockOf(9, 0)}, "2026-11-30T07:59:59.999Z", false, "Mon 2026-11-30 08:00 UTC"},
		{"a whole day", "UTC", Window{days(time.Monday), 0, clockOf(24, 0)}, "2026-11-30T23:59:59.999Z", true, ""},
		{"the day after", "UTC", Window{days(time.Monday), 0, clockOf(24, 0)}, "2026-12-01T00:00:00Z", false, "Mon 2026-12-07 00:00 UTC"},
		{"the zone's clock, in winter", "Europe/Madrid", Window{everyDay, clockOf(22, 0), clockOf(23, 0)}, "2026-11-30T21:30:00Z", true, ""},
		{"the zone's clock, in summer", "Europe/Madrid", Window{everyDay, clockOf(22, 0), clockOf(23, 0)}, "2026-07-30T21:30:00Z", false, "Fri 2026-07-31 22:00 CEST"},
		{"over midnight, before", "Europe/Madrid", Window{days(time.Friday), clockOf(22, 0), clockOf(6, 0)}, "2026-11-27T21:30:00Z", true, ""},
		{"over midnight, after", "Europe/Madrid", Window{days(time.Friday), clockOf(22, 0), clockOf(6, 0)}, "2026-11-28T04:30:00Z", true, ""},
		{"the morning of the day it begins", "Europe/Madrid", Window{days(time.Friday), clockOf(22, 0), clockOf(6, 0)}, "2026-11-27T04:30:00Z", false, "Fri 2026-11-27 22:00 CET"},
		{"until midnight", "UTC", Window{days(time.Monday), clockOf(22, 0), 0}, "2026-12-01T00:00:00Z", false, "Mon 2026-12-07 22:00 UTC"},
		// Madrid, 2026-03-29: 02:00 CET is 03:00 CEST.
		{"a begin that the clock skips", "Europe/Madrid", Window{everyDay, clockOf(2, 30), clockOf(4, 0)}, "2026-03-29T00:59:59Z", false, "Sun 2026-03-29 03:00 CEST"},
		{"a window that the clock skips", "Europe/Madrid", Window{days(time.Sunday), clockOf(2, 15), clockOf(2, 45)}, "2026-03-29T01:00:00Z", false, "Sun 2026-04-05 02:15 CEST"},
		{"the last minute before the skipped hour", "Europe/Madrid", Window{everyDay, clockOf(1, 0), clockOf(2, 30)}, "2026-03-29T00:59:59Z", true, ""},
		{"an end that the clock skips", "Europe/Madrid", Window{everyDay, clockOf(1, 0), clockOf(2, 30)}, "2026-03-29T01:00:00Z", false, "Mon 2026-03-30 01:00 CEST"},
		// Madrid, 2026-10-25: 03:00 CEST is 02:00 CET.
		{"an hour that the clock repeats, first", "Europe/Madrid", Window{everyDay, clockOf(2, 0), clockOf(3, 0)}, "2026-10-25T00:30:00Z", true, ""},
		{"an hour that the clock repeats, second", "Europe/Madrid", Window{everyDay, clockOf(2, 0), clockOf(3, 0)}, "2026-10-25T01:30:00Z", true, ""},
		{"after it", "Europe/Madrid", Window{everyDay, clockOf(2, 0), clockOf(3, 0)}, "2026-10-25T02:00:00Z", false, "Mon 2026-10-26 02:00 CET"},
		{"between the two", "Europe/Madrid", Window{everyDay, clockOf(2, 0), clockOf(2, 30)}, "2026-10-25T00:45:00Z", false, "Sun 2026-10-25 02:00 CET"},
		{"half an hour is repeated", "Australia/Lord_Howe", Window{everyDay, clockOf(1, 30), clockOf(2, 0)}, "2026-04-04T15:15:00Z", true, ""},
		{"an offset of 45 minutes", "Asia/Kathmandu", Window{everyDay, clockOf(0, 0), clockOf(0, 1)}, "2026-11-30T18:15:30Z", true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, c.at)
			if err != nil {
				t.Fatal(err)
			}
			s := &Schedule{Location: zone(t, c.zone), Windows: []Window{c.window}}
			if got := s.Open(at); got != c.open {
				t.Fatalf("open %v, want %v", got, c.open)
			}
			if want := "until " + c.opens; !c.open && s.until(at) != want {
				t.Errorf("%q, want %q", s.until(at), want)
			}
		})
	}
}

func TestNoSchedule(t *testing.T) {
	var always *Schedule
	if _, opens := always.Opens(epoch); opens || !always.Open(epoch) {
		t.Error("a rule without a schedule is not always in it")
	}
	never := &Schedule{Location: time.UTC, Windows: []Window{{From: 0, To: time.Hour}}}
	if never.Open(epoch) || never.until(epoch) != "not within two weeks" {
		t.Errorf("a window without days: %s", never.until(epoch))
	}
}

// minutes are the minutes of the week on the clock that windows have: the same in
// another way.
func minutes(windows []Window) map[string]bool {
	set := map[string]bool{}
	for _, w := range windows {
		length := w.To - w.From
		if length <= 0 {
			length += 24 * time.Hour
		}
		for day, on := range w.Days {
			for m := time.Duration(0); on && m < length; m += time.Minute {
				// 2026-11-01 is a Sunday.
				set[time.Date(2026, 11, 1+day, 0, 0, 0, 0, time.UTC).Add(w.From+m).Format("Mon 15:04")] = true
			}
		}
	}
	return set
}

// Each minute around a change of the clock is in the schedule if the clock shows a
// minute that is, and Opens is the first one.
func TestScheduleOverClockChanges(t *testing.T) {
	changes := []struct {
		zone string
		at   time.Time
	}{
		{"Europe/Madrid", time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)},
		{"Europe/Madrid", time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC)},
		{"America/New_York", time.Date(2026, 3, 8, 7, 0, 0, 0, time.UTC)},
		{"America/Havana", time.Date(2026, 3, 8, 5, 0, 0, 0, time.UTC)},  // 00:00 is 01:00
		{"America/Havana", time.Date(2026, 11, 1, 5, 0, 0, 0, time.UTC)}, // 01:00 is 00:00
		{"America/Santiago", time.Date(2026, 4, 5, 3, 0, 0, 0, time.UTC)},
		{"Australia/Lord_Howe", time.Date(2026, 4, 4, 15, 0, 0, 0, time.UTC)},
		{"Antarctica/Troll", time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)}, // by two hours
		{"Asia/Kolkata", time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)},
	}
	opened := 0
	rapid.Check(t, func(t *rapid.T) {
		change := rapid.SampledFrom(changes).Draw(t, "change")
		location, err := time.LoadLocation(change.zone)
		if err != nil {
			t.Fatal(err)
		}
		s := &Schedule{Location: location}
		for range rapid.IntRange(1, 3).Draw(t, "windows") {
			w := Window{
				From: time.Duration(rapid.IntRange(0, 24*60-1).Draw(t, "from")) * time.Minute,
				To:   time.Duration(rapid.IntRange(0, 24*60).Draw(t, "to")) * time.Minute,
			}
			if rapid.Bool().Draw(t, "near") {
				w.From, w.To = w.From%(4*time.Hour), w.To%(4*time.Hour)
			}
			for i := range w.Days {
				w.Days[i] = rapid.Bool().Draw(t, fmt.Sprint("day ", i))
			}
			if w.From != w.To {
				s.Windows = append(s.Windows, w)
			}
		}
		set := minutes(s.Windows)
		shown := func(at time.Time) bool { return set[at.In(location).Format("Mon 15:04")] }
		at := change.at.Add(time.Duration(rapid.IntRange(-2*24*60, 24*60).Draw(t, "minutes")) * time.Minute)
		if s.Open(at) != shown(at) || s.Open(at.Add(59*time.Second)) != shown(at) {
			t.Fatalf("%s: open %v, want %v", at.In(location), s.Open(at), shown(at))
		}
		if shown(at) || len(set) == 0 {
			return
		}
		first := at
		for !shown(first) && first.Sub(at) < 15*24*time.Hour {
			first = first.Add(time.Minute)
		}
		if got, ok := s.Opens(at.Add(time.Second)); !ok || !got.Equal(first) {
			t.Fatalf("at %s: opens %s (%v), want %s", at.In(location), got, ok, first.In(location))
		}
		opened++
	})
	if opened == 0 {
		t.Error("no schedule was closed")
	}
}
