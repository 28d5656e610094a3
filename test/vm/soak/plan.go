package soak

import (
	"math/rand/v2"
	"time"
)

// Kind is a kind of fault.
type Kind string

// The kinds of faults. "Killed" is kill -9; whoever plays the service manager
// starts it again after a moment.
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

// Kinds returns all of them.
func Kinds() []Kind {
	return []Kind{
		ExporterKilled, ManagerKilled, PrometheusKilled, AlertmanagerKilled, GeneratorKilled, DockerRestarted, DockerKilled,
		PrometheusPaused, ExporterPaused, ManagerPaused, DiskFull, ClockForward, ClockBack, ModuleAway, ContainersKilled,
		ContainersPaused, GeneratorCleans,
	}
}

// second are those that may come on top of another one.
func second() []Kind {
	return []Kind{ExporterKilled, ManagerKilled, PrometheusKilled, GeneratorKilled, ManagerPaused, ContainersKilled}
}

// Fault is one fault, or two at once.
type Fault struct {
	Kind Kind
	Also Kind          // "" if it comes alone
	Wait time.Duration // after the system has recovered from the one before
	Hold time.Duration // how long it lasts, or what was killed stays away
	Step time.Duration // of the clock
	Live bool          // Docker comes back as one that lets containers live on without it
	Draw uint64        // chooses among what is there
}

// Plan draws faults: the same seed, the same sequence. Every kind comes once
// before one comes twice.
type Plan struct {
	random *rand.Rand
	bag    []Kind
}

// NewPlan starts the sequence of a seed.
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
