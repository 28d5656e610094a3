package status

import (
	"slices"
	"sync"

	"github.com/estiba/estiba/manager/audit"
)

// maxKills limits the stored kills.
const maxKills = 100

// Store holds the last tick and the last kills. It is safe for concurrent use.
type Store struct {
	mu     sync.Mutex
	tick   *Tick
	ticks  uint64
	kills  []audit.Record // oldest first
	dryRun bool
}

// NewStore returns an empty Store.
func NewStore() *Store { return &Store{} }

// Tick takes a finished tick.
func (s *Store) Tick(t Tick) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tick = &t
	s.ticks++
}

// Killed takes the outcome of a kill.
func (s *Store) Killed(rec audit.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kills = latest(s.kills, rec, maxKills)
}

// latest appends a record, each kill once, and drops the oldest beyond most.
func latest(list []audit.Record, rec audit.Record, most int) []audit.Record {
	list = append(slices.DeleteFunc(list, func(r audit.Record) bool { return r.KillID == rec.KillID }), rec)
	if over := len(list) - most; over > 0 {
		list = append(list[:0:0], list[over:]...)
	}
	return list
}

// SetDryRun sets whether no rule can kill.
func (s *Store) SetDryRun(dry bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dryRun = dry
}

// DryRun reports whether no rule can kill.
func (s *Store) DryRun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dryRun
}

// last returns the last tick (nil before the first), the number of ticks, and the
// kills, newest first.
func (s *Store) last() (*Tick, uint64, []audit.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kills := make([]audit.Record, len(s.kills))
	for i, k := range s.kills {
		kills[len(kills)-1-i] = k
	}
	return s.tick, s.ticks, kills
}
