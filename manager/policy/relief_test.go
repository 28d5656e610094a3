package policy

import (
	"fmt"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/container"
)

// busy is a world with n containers that its one rule wants, the highest
// first; it may kill two in a tick.
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

// kill carries the plan's kills out on paper: the memory knows of them, and
// what ended is not listed any more.
func (w *World) kill(t *testing.T, p Plan) {
	t.Helper()
	if len(p.Victims) == 0 {
		t.Fatalf("nobody to kill: %+v", p.Decisions)
	}
	w.Memory.Measured(p.Measured, w.Rules, w.Now)
	round := w.Memory.Open("r", p.Rounds["r"], len(p.Victims))
	for _, v := range p.Victims {
		w.Memory.Acted("r", Live, w.Now, w.Data.Sequence)
		w.Memory.Ended("r", round, v.Container.ID, true, w.Now)
		w.drop(v.Container.ID)
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

// pass lets time pass, with a new snapshot at its end.
func (w *World) pass(d time.Duration) {
	w.Now = w.Now.Add(d)
	w.Data.At, w.Data.Sequence = w.Now.Add(-time.Second), w.Now.String()
}

// start puts a container there that the rule wants too.
func (w *World) start(n int, name string, value float64) {
	c := Container{ID: id(n), Name: name, Kind: container.KindCPU, InScope: true, StartedAt: w.Data.At}
	w.Containers = append(w.Containers, c)
	w.Answers[0].Samples = append(w.Answers[0].Samples, Sample{ID: container.ShortID(c.ID), Value: value, Start: w.Data.At, WindowFilled: true})
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
		{"two of four are gone", Relief{By: ByCount}, func(*World) {}, 0.5,
			map[container.Kind]float64{container.KindCPU: 0.5, container.KindRAM: 0.5}, true},
		{"half is less than asked for", Relief{By: ByCount, AtLeast: 0.6}, func(*World) {}, 0.5,
			map[container.Kind]float64{container.KindCPU: 0.5, container.KindRAM: 0.5}, false},
		{"others came: that is no fault of the kills", Relief{By: ByCount}, func(w *World) { w.start(10, "new", 9); w.start(11, "newer", 8) }, 0.5,
			map[container.Kind]float64{container.KindCPU: 0.5, container.KindRAM: 0.5}, true},
		{"one is put back", Relief{By: ByCount}, func(w *World) { w.start(10, "c0", 0) }, 0.25,
			map[container.Kind]float64{container.KindCPU: 0, container.KindRAM: 0.5}, true},
		{"both are put back", Relief{By: ByCount}, func(w *World) { w.start(10, "c0", 0); w.start(11, "c1", 0) }, 0,
			map[container.Kind]float64{container.KindCPU: 0, container.KindRAM: 0}, false},
		{"the rest takes what they left", Relief{By: BySum}, func(w *World) {
			w.Answers[0].Samples[0].Value, w.Answers[0].Samples[1].Value = 5, 5
		}, 0, map[container.Kind]float64{container.KindCPU: 1.0 / 6, container.KindRAM: -0.25}, false},
		{"the sum halves", Relief{By: BySum}, func(w *World) {
			w.Answers[0].Samples[0].Value, w.Answers[0].Samples[1].Value = 5, 0
		}, 0.5, map[container.Kind]float64{container.KindCPU: 1.0 / 6, container.KindRAM: 1}, true},
		{"the query says less", Relief{By: ByQuery}, func(w *World) { w.Answers[0].Pressure = 60 }, 0.25,
			map[container.Kind]float64{container.KindCPU: 0.25, container.KindRAM: 0.25}, true},
		{"the query says more", Relief{By: ByQuery}, func(w *World) { w.Answers[0].Pressure = 100 }, -0.25,
			map[container.Kind]float64{container.KindCPU: -0.25, container.KindRAM: -0.25}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := busy(4, c.relief)
			w.Answers[0].Pressure, w.Answers[0].PressureKnown = 80, true
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

// A rule whose victims are put back each time stops itself; it tries once
// after its rest, stops again when that does not help, and goes on when it does.
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
	w.pass(10 * time.Second) // nobody puts them back now
	w.start(90, "other", 1)
	p := Decide(w)
	w.Memory.Measured(p.Measured, w.Rules, w.Now)
	if len(p.Victims) != 1 || w.Memory.Relieving["r"].Unrelieved != 0 {
		t.Errorf("after relief: %+v, %+v", p.Decisions, w.Memory.Relieving)
	}
}

func TestSomebodyLooked(t *testing.T) {
	w := busy(2, Relief{By: ByCount, StopAfter: 1})
	w.Memory.Relieving["r"] = Relieving{Unrelieved: 7, StoppedAt: w.Now}
	if p := Decide(w); len(p.Victims) != 0 {
		t.Fatalf("%+v", p.Victims)
	}
	w.Memory.Resume()
	if p := Decide(w); len(p.Victims) != 2 {
		t.Errorf("after Resume: %+v", p.Decisions)
	}
}

// A dry run has no effect, so it has no relief either.
func TestDryRunIsNotMeasured(t *testing.T) {
	w := busy(4, Relief{By: ByQuery, StopAfter: 1})
	w.Rules[0].Mode = DryRun
	w.Memory.Relieving["r"] = Relieving{Unrelieved: 7}
	if p := Decide(w); len(p.Victims) != 2 || len(p.Rounds) != 0 {
		t.Errorf("%+v", p)
	}
}

// What is measured waits for slow acts, and a round that killed nobody goes.
func TestRoundsEnd(t *testing.T) {
	w := busy(2, Relief{By: ByCount})
	p := Decide(w)
	round := w.Memory.Open("r", p.Rounds["r"], 2)
	w.Memory.Ended("r", round, id(0), true, w.Now)
	w.drop(id(0))
	w.pass(10 * time.Second)
	if p := Decide(w); len(p.Measured) != 0 {
		t.Errorf("measured while an act is under way: %+v", p.Measured)
	}
	w.Memory.Ended("r", round, id(1), false, w.Now)
	w.pass(10 * time.Second)
	if m := measured(t, w); !near(m.Ratio, 0.5) {
		t.Errorf("one of two was killed: %+v", m)
	}
	empty := w.Memory.Open("r", p.Rounds["r"], 1)
	w.Memory.Ended("r", empty, id(1), false, w.Now)
	if n := len(w.Memory.Relieving["r"].Rounds); n != 1 {
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

// The clock stepping back must not make a stopped rule rest for ever.
func TestMemoryAfterTheClockStepped(t *testing.T) {
	m := NewMemory()
	m.Acted("r", Live, epoch, "1")
	m.Relieving["r"] = Relieving{StoppedAt: epoch, Rounds: []Round{{Ended: epoch}}}
	back := epoch.Add(-time.Hour)
	c := m.At(back)
	if !c.LastAct.Equal(back) || !c.LastKill["r"].Equal(back) || !c.Relieving["r"].StoppedAt.Equal(back) || !c.Relieving["r"].Rounds[0].Ended.Equal(back) {
		t.Errorf("%+v", c)
	}
	c.LastKill["r"], c.Relieving["r"] = epoch, Relieving{}
	if m.LastKill["r"].Equal(epoch) || m.Relieving["r"].StoppedAt.IsZero() {
		t.Error("the copy and the memory share their maps")
	}
}
