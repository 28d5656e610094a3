package status

import (
	"sync"

	"github.com/estiba/estiba/manager/audit"
)

// maxKills bounds the kills that the page shows.
const maxKills = 100

// Store holds the last tick and the last kills for whoever looks. It is safe
// for concurrent use.
type Store struct {
	mu     sync.Mutex
	tick   *Tick
	ticks  uint64
	kills  []audit.Record // oldest first
	dryRun bool
}

// NewStore returns a Store that has seen no tick.
func NewStore() *Store { return &Store{} }

// Tick takes the last tick.
func (s *Store) Tick(t Tick) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tick = &t
	s.ticks++
}

// Killed takes one finished order.
func (s *Store) Killed(rec audit.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kills = append(s.kills, rec)
	if over := len(s.kills) - maxKills; over > 0 {
		s.kills = append(s.kills[:0:0], s.kills[over:]...)
	}
}

// SetDryRun notes that no rule can kill.
func (s *Store) SetDryRun(dry bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dryRun = dry
}

// DryRun tells whether no rule can kill.
func (s *Store) DryRun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dryRun
}

// last returns the last tick (nil before the first), how many there were, and
// the kills, youngest first.
func (s *Store) last() (*Tick, uint64, []audit.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kills := make([]audit.Record, len(s.kills))
	for i, k := range s.kills {
		kills[len(kills)-1-i] = k
	}
	return s.tick, s.ticks, kills
}
