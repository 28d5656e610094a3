package cgroup

// split divides CPU time into user and system. The total is exact, while the two modes
// are partly sampled at timer ticks and need not add up to it: they are scaled, and
// neither decreases.
type split struct {
	user, system uint64
}

// update takes the total and the two modes as read, in ns.
func (s *split) update(total, user, system uint64) (uint64, uint64) {
	if total < s.user+s.system {
		return s.user, s.system
	}
	scaled := total
	if user+system > 0 {
		scaled = uint64(float64(total) * (float64(user) / (float64(user) + float64(system))))
	}
	s.user = min(max(scaled, s.user), total-s.system)
	s.system = total - s.user
	return s.user, s.system
}
