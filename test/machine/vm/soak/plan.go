package soak

import (
	"math/rand/v2"
	"time"
)

// Kind is a kind of fault.
type Kind string

// The kinds of faults. "Killed" is kill -9; the service manager restarts the program.
const (
	ExporterKilled     Kind = "exporter killed"
	ManagerKilled      Kind = "manager killed"
	PrometheusKilled   Kind = "Prometheus killed"
	AlertmanagerKilled Kind = "Alertmanager killed"
	GeneratorKilled    Kind = "generator killed"
	DockerRestarted    Kind = "Docker restarted"
	DockerKilled       Kind = "Docker killed"
	PrometheusPaused   Kind = "Prometheus paused"
	ExporterPaused     Kind = "exporter paused"
	ManagerPaused      Kind = "manager paused"
	DiskFull           Kind = "disk full"
	ClockForward       Kind = "clock forward"
	ClockBack          Kind = "clock back"
	ModuleAway         Kind = "module away"
	ContainersKilled   Kind = "containers killed"
	ContainersPaused   Kind = "containers paused"
	GeneratorCleans    Kind = "generator cleans"
)

// Kinds returns all kinds.
func Kinds() []Kind {
	return []Kind{
		ExporterKilled, ManagerKilled, PrometheusKilled, AlertmanagerKilled, GeneratorKilled, DockerRestarted, DockerKilled,
		PrometheusPaused, ExporterPaused, ManagerPaused, DiskFull, ClockForward, ClockBack, ModuleAway, ContainersKilled,
		ContainersPaused, GeneratorCleans,
	}
}

// second returns the kinds that may be combined with another one.
func second() []Kind {
	return []Kind{ExporterKilled, ManagerKilled, PrometheusKilled, GeneratorKilled, ManagerPaused, ContainersKilled}
}

// Fault is a fault, or two at once.
type Fault struct {
	Kind Kind
	Also Kind          // "" for a single fault
	Wait time.Duration // after recovery from the previous fault
	Hold time.Duration // duration of the fault, or of the outage
	Step time.Duration // of the clock
	Live bool          // Docker restarts with live-restore
	Draw uint64        // chooses the containers
}

// Plan draws faults: the same seed gives the same sequence. Every kind is drawn once
// before any is drawn again.
type Plan struct {
	random *rand.Rand
	bag    []Kind
}

// NewPlan returns the sequence of a seed.
func NewPlan(seed uint64) *Plan { return &Plan{random: rand.New(rand.NewPCG(seed, 0))} }

// Next draws the next fault.
func (p *Plan) Next() Fault {
	if len(p.bag) == 0 {
		p.bag = Kinds()
		p.random.Shuffle(len(p.bag), func(i, j int) { p.bag[i], p.bag[j] = p.bag[j], p.bag[i] })
	}
	f := Fault{
		Kind: p.bag[0], Wait: p.between(15, 45), Hold: p.between(2, 30), Step: p.between(3, 45),
		Live: p.random.IntN(2) == 0, Draw: p.random.Uint64(),
	}
	p.bag = p.bag[1:]
	if s := second(); p.random.IntN(3) == 0 {
		if f.Also = s[p.random.IntN(len(s))]; f.Also == f.Kind {
			f.Also = ""
		}
	}
	return f
}

func (p *Plan) between(least, most int) time.Duration {
	return time.Duration(least)*time.Second + time.Duration(p.random.IntN((most-least)*1000))*time.Millisecond
}
