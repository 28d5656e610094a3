package policy

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/container"
)

// busy is a world with n candidates of its rule, the highest first; two may be killed
// in a tick.
func busy(n int, r Relief) World {
	w := calm()
	w.Keep, w.Containers, w.Memory = nil, nil, NewMemory()
	w.Rules[0].MaxKills, w.Rules[0].Relief = 2, r
	w.Answers = []Answer{{}}
	for i := range n {
		kind := container.KindCPU
		if i%2 == 1 {
			kind = container.KindRAM
		}
		w.Containers = append(w.Containers, Container{ID: id(i), Name: fmt.Sprintf("c%d", i), Kind: kind, InScope: true, StartedAt: epoch.Add(-time.Hour)})
		w.Answers[0].Samples = append(w.Answers[0].Samples, sampleOf(w.Containers[i], float64(n-i)))
	}
	return w
}

// kill carries the plan's kills out: the memory knows of them, and the containers are
// no longer listed.
func (w *World) kill(t *testing.T, p Plan) {
	t.Helper()
	if len(p.Victims) == 0 {
		t.Fatalf("no victims: %+v", p.Decisions)
	}
	w.Memory.Measured(p.Measured, w.Rules, w.Now)
	for _, b := range w.Memory.Start(*w, p, w.Now) {
		for _, v := range b.Victims {
			w.Memory.Finish(End{Rule: "r", ID: v.Container.ID, Mode: Live, Round: b.Round, At: w.Now, Begun: true, Killed: true})
			w.drop(v.Container.ID)
		}
	}
}

func (w *World) drop(gone string) {
	var left []Container
	for _, c := range w.Containers {
		if c.ID != gone {
			left = append(left, c)
		}
	}
	w.Containers = left
	var rows []Sample
	for _, s := range w.Answers[0].Samples {
		if s.ID != container.ShortID(gone) {
			rows = append(rows, s)
		}
	}
	w.Answers[0].Samples = rows
}

// pass lets time pass, with a new snapshot at the end.
func (w *World) pass(d time.Duration) {
	w.Now = w.Now.Add(d)
	w.Data.At, w.Data.Sequence = w.Now.Add(-time.Second), w.Now.String()
}

// start adds a candidate.
func (w *World) start(n int, name string, value float64) {
	c := Container{ID: id(n), Name: name, Kind: container.KindCPU, InScope: true, StartedAt: w.Data.At}
	w.Containers = append(w.Containers, c)
	w.Answers[0].Samples = append(w.Answers[0].Samples, Sample{
		ID: container.ShortID(c.ID), Value: value, Start: w.Data.At, WindowFilled: true,
		LabelsKnown: true,
	})
}

func measured(t *testing.T, w World) Measurement {
	t.Helper()
	p := Decide(w)
	if len(p.Measured) != 1 {
		t.Fatalf("%d measurements, want one", len(p.Measured))
	}
	return p.Measured[0]
}

func TestRelief(t *testing.T) {
	cases := []struct {
		name     string
		relief   Relief
		change   func(*World) // between the kill of c0 and c1 and the next tick
		ratio    float64
		kinds    map[container.Kind]float64
		relieved bool
	}{
		{
			"two of four are gone",
			Relief{By: ByCount},
			func(*World) {}, 0.5,
			map[container.Kind]float64{container.KindCPU: 0.5, container.KindRAM: 0.5},
			true,
		},
		{
			"half is less than asked for",
			Relief{By: ByCount, AtLeast: 0.6},
			func(*World) {}, 0.5,
			map[container.Kind]float64{container.KindCPU: 0.5, container.KindRAM: 0.5},
			false,
		},
		{
			"others came: that is no fault of the kills",
			Relief{By: ByCount},
			func(w *World) { w.start(10, "new", 9); w.start(11, "newer", 8) }, 0.5,
			map[container.Kind]float64{container.KindCPU: 0.5, container.KindRAM: 0.5},
			true,
		},
		{
			"one is put back",
			Relief{By: ByCount},
			func(w *World) { w.start(10, "c0", 0) }, 0.25,
			map[container.Kind]float64{container.KindCPU: 0, container.KindRAM: 0.5},
			true,
		},
		{
			"both are put back",
			Relief{By: ByCount},
			func(w *World) { w.start(10, "c0", 0); w.start(11, "c1", 0) }, 0,
			map[container.Kind]float64{container.KindCPU: 0, container.KindRAM: 0},
			false,
		},
		{"the rest takes what they left", Relief{By: BySum}, func(w *World) {
			w.Answers[0].Samples[0].Value, w.Answers[0].Samples[1].Value = 5, 5
		}, 0, map[container.Kind]float64{container.KindCPU: 1.0 / 6, container.KindRAM: -0.25}, false},
		{"the sum halves", Relief{By: BySum}, func(w *World) {
			w.Answers[0].Samples[0].Value, w.Answers[0].Samples[1].Value = 5, 0
		}, 0.5, map[container.Kind]float64{container.KindCPU: 1.0 / 6, container.KindRAM: 1}, true},
		{
			"the query says less",
			Relief{By: ByQuery},
			func(w *World) { w.Answers[0].ReliefValue = 60 }, 0.25,
			map[container.Kind]float64{container.KindCPU: 0.25, container.KindRAM: 0.25},
			true,
		},
		{
			"the query says more",
			Relief{By: ByQuery},
			func(w *World) { w.Answers[0].ReliefValue = 100 }, -0.25,
			map[container.Kind]float64{container.KindCPU: -0.25, container.KindRAM: -0.25},
			false,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := busy(4, c.relief)
			w.Answers[0].ReliefValue, w.Answers[0].ReliefValueKnown = 80, true
			w.kill(t, Decide(w))
			if p := Decide(w); len(p.Measured) != 0 {
				t.Errorf("measured on the snapshot that was killed on: %+v", p.Measured)
			}
			w.pass(10 * time.Second)
			c.change(&w)
			m := measured(t, w)
			if m.Rule != "r" || !near(m.Ratio, c.ratio) || m.Relieved != c.relieved {
				t.Errorf("%+v, want ratio %v, relieved %v", m, c.ratio, c.relieved)
			}
			for kind, want := range c.kinds {
				if got, ok := m.ByKind[kind]; !ok || !near(got, want) {
					t.Errorf("%s: %v, want %v", kind, got, want)
				}
			}
		})
	}
}

func near(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 }

// A rule whose victims are restarted each time stops; it retries once after
// resume_after, stops again without relief, and resumes with it.
func TestRuleStopsItself(t *testing.T) {
	w := busy(2, Relief{By: ByCount, StopAfter: 3, ResumeAfter: time.Minute})
	next := 10
	putBack := func() {
		for _, name := range []string{"c0", "c1"} {
			w.start(next, name, 1)
			next++
		}
	}
	for range 3 {
		w.kill(t, Decide(w))
		w.pass(10 * time.Second)
		putBack()
		w.pass(10 * time.Second)
	}
	stopped := func(what string) {
		t.Helper()
		p := Decide(w)
		w.Memory.Measured(p.Measured, w.Rules, w.Now)
		if len(p.Victims) != 0 || p.Decisions[0].Reason != NoRelief {
			t.Fatalf("%s: %+v", what, p.Decisions)
		}
	}
	stopped("after three kills")
	w.pass(59 * time.Second)
	stopped("before its rest is over")
	w.pass(time.Second)
	w.kill(t, Decide(w))
	w.pass(10 * time.Second)
	putBack()
	stopped("after the try did not help")
	w.pass(61 * time.Second)
	w.kill(t, Decide(w))
	w.pass(10 * time.Second) // not restarted any more
	w.start(90, "other", 1)
	p := Decide(w)
	w.Memory.Measured(p.Measured, w.Rules, w.Now)
	if len(p.Victims) != 1 || w.Memory.ReliefState["r"].Unrelieved != 0 {
		t.Errorf("after relief: %+v, %+v", p.Decisions, w.Memory.ReliefState)
	}
}

func TestResume(t *testing.T) {
	w := busy(2, Relief{By: ByCount, StopAfter: 1})
	w.Memory.ReliefState["r"] = ReliefState{Unrelieved: 7, StoppedAt: w.Now}
	if p := Decide(w); len(p.Victims) != 0 {
		t.Fatalf("%+v", p.Victims)
	}
	w.Memory.Resume()
	if p := Decide(w); len(p.Victims) != 2 {
		t.Errorf("after Resume: %+v", p.Decisions)
	}
}

// A dry run has no effect, so it has no relief.
func TestDryRunIsNotMeasured(t *testing.T) {
	w := busy(4, Relief{By: ByQuery, StopAfter: 1})
	w.Rules[0].Mode = DryRun
	w.Memory.ReliefState["r"] = ReliefState{Unrelieved: 7}
	if p := Decide(w); len(p.Victims) != 2 || len(p.Rounds) != 0 {
		t.Errorf("%+v", p)
	}
}

// A measurement waits for slow kills, and a round without a successful kill is dropped.
func TestRoundsEnd(t *testing.T) {
	w := busy(2, Relief{By: ByCount})
	p := Decide(w)
	round := w.Memory.open("r", p.Rounds["r"], 2)
	w.Memory.ended("r", round, id(0), true, w.Now)
	w.drop(id(0))
	w.pass(10 * time.Second)
	if p := Decide(w); len(p.Measured) != 0 {
		t.Errorf("measured while a kill is in flight: %+v", p.Measured)
	}
	w.Memory.ended("r", round, id(1), false, w.Now)
	w.pass(10 * time.Second)
	if m := measured(t, w); !near(m.Ratio, 0.5) {
		t.Errorf("one of two was killed: %+v", m)
	}
	empty := w.Memory.open("r", p.Rounds["r"], 1)
	w.Memory.ended("r", empty, id(1), false, w.Now)
	if n := len(w.Memory.ReliefState["r"].Rounds); n != 1 {
		t.Errorf("%d rounds, want the one that killed", n)
	}
}

func TestMeasuredAfter(t *testing.T) {
	w := busy(2, Relief{By: ByCount, After: time.Minute})
	w.kill(t, Decide(w))
	w.pass(60 * time.Second)
	if p := Decide(w); len(p.Measured) != 0 {
		t.Errorf("measured too early: %+v", p.Measured)
	}
	w.pass(2 * time.Second)
	measured(t, w)
}

// A clock that is set back must not stop a rule forever.
func TestMemoryAfterClockStep(t *testing.T) {
	m := NewMemory()
	m.Finish(End{Rule: "r", Mode: Live, At: epoch, Begun: true})
	m.ReliefState["r"] = ReliefState{StoppedAt: epoch, Rounds: []Round{{Ended: epoch}}}
	back := epoch.Add(-time.Hour)
	c := m.At(back)
	if !c.LastLiveKill.Equal(back) || !c.LastKill["r"].Equal(back) || !c.ReliefState["r"].StoppedAt.Equal(back) ||
		!c.ReliefState["r"].Rounds[0].Ended.Equal(back) {
		t.Errorf("%+v", c)
	}
	c.LastKill["r"], c.ReliefState["r"] = epoch, ReliefState{}
	if m.LastKill["r"].Equal(epoch) || m.ReliefState["r"].StoppedAt.IsZero() {
		t.Error("the copy and the memory share their maps")
	}
}

// Sums beyond the range of float64 are no relief, and never Inf or NaN.
func TestReliefOfHugeValues(t *testing.T) {
	const huge = 1.7e308
	for _, c := range [][2]float64{{math.Inf(1), math.Inf(1)}, {math.Inf(1), huge}, {huge, -huge}, {1e-300, -huge}, {math.Inf(-1), huge}} {
		if got := gone(c[0], c[1]); math.IsNaN(got) || math.IsInf(got, 0) || got > 0 && c[0] > c[1] && math.IsInf(c[0], 0) {
			t.Errorf("from %v to %v: %v", c[0], c[1], got)
		}
	}
}
