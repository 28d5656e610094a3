package collector

import "github.com/estiba/estiba/exporter/runtimes"

// The state of a container in its runtime, from the cache: a scrape never queries one.

func stateKnown(r *row) (uint64, bool)  { return 1, r.current && r.entry.state != nil }
func healthKnown(r *row) (uint64, bool) { return 1, r.current && r.entry.health != nil }

func unsupported(r *row) (uint64, bool) { return 1, r.unsupported && r.entry.machine != nil }

func exitCode(r *row) (uint64, bool) {
	if i := r.entry.reported; i != nil && i.State.Ended() {
		return uint64(int64(i.State.ExitCode)), true
	}
	return 0, false
}

func restarts(r *row) (uint64, bool) {
	if i := r.entry.reported; i != nil && i.State.Inspected {
		return i.State.Restarts, true
	}
	return 0, false
}

// healthState returns the health as cAdvisor's number.
func healthState(r *row) (uint64, bool) {
	i := r.entry.reported
	if i == nil || !r.current || !i.State.Inspected || i.State.NoHealth {
		return 0, false
	}
	value := int64(0)
	switch i.State.Health {
	case runtimes.HealthHealthy:
		value = 1
	case "":
		value = -1
	}
	return uint64(value), true
}
