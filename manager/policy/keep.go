package policy

import "github.com/estiba/estiba/internal/container"

// Keep is a keep rule: at least Min running containers in scope of each group.
type Keep struct {
	// By is what the groups are by, as in the policy file: "image", "label:team", with
	// One and its pattern "name web-*". "" is by kind.
	By string
	// One: all containers that match a pattern are the only group.
	One bool
	Min int
}

// Group is the group of a container under a keep rule that is not by kind. The zero
// value is unknown: the container counts for no group and may be the last of any.
type Group struct {
	Known bool
	Name  string // "": it is in no group
}

// group is the group of c under the i-th keep rule.
func (c Container) group(i int, k Keep) Group {
	switch {
	case k.By == "":
		return Group{Known: true, Name: string(c.Kind)} // none is unknown_kind's
	case i < len(c.Groups):
		return c.Groups[i]
	}
	return Group{}
}

// counts reports whether c counts for keep rules, as far as it is known by itself.
func (c Container) counts() bool {
	return c.InScope && !c.Foreign && c.State == Running && !c.Signalled
}

// census is the number of containers in each group of each keep rule.
type census []map[string]int

func newCensus(keep []Keep) census {
	n := make(census, len(keep))
	for i := range n {
		n[i] = map[string]int{}
	}
	return n
}

func (n census) add(c Container, keep []Keep) {
	for i, k := range keep {
		if g := c.group(i, k); g.Known {
			n[i][k.key(g)]++
		}
	}
}

// key is the key of a known group in a census. Containers in no group share one, which
// is not looked up.
func (k Keep) key(g Group) string {
	if k.One && g.Name != "" {
		return k.By
	}
	return g.Name
}

// refuses is why a container of group g may not be killed if left others of its group
// remain; "" if it may. Of one whose group is unknown, left are those of the only group.
func (k Keep) refuses(g Group, left int) Reason {
	switch {
	case k.By == "":
		if left < k.Min {
			return LastOfKind
		}
	case !g.Known:
		if !k.One || left < k.Min {
			return UnknownGroup
		}
	case g.Name != "" && left < k.Min:
		return LastOfGroup
	}
	return ""
}

// left is how many containers of the group of c remain after its kill. counted: the
// census includes c.
func (n census) left(i int, k Keep, g Group, counted bool) int {
	switch {
	case g.Known && counted:
		return n[i][k.key(g)] - 1
	case g.Known:
		return n[i][k.key(g)]
	case k.One:
		return n[i][k.By]
	}
	return 0
}

// unknownKind: a keep rule counts kinds, and the container may be the last of any.
func unknownKind(t *tick, c *candidate) bool {
	if c.container.Kind != container.KindNone {
		return false
	}
	for _, k := range t.world.Keep {
		if k.By == "" {
			return true
		}
	}
	return false
}

func lastOfKind(t *tick, c *candidate) bool { return t.keeps(c, LastOfKind) != nil }

func unknownGroup(t *tick, c *candidate) bool { return t.keeps(c, UnknownGroup) != nil }

func lastOfGroup(t *tick, c *candidate) bool { return t.keeps(c, LastOfGroup) != nil }

// keptBy is a keep rule that spares a container, and its group.
type keptBy struct {
	Keep
	Group
}

// keeps returns the first keep rule that spares c for a reason; nil if there is none.
func (t *tick) keeps(c *candidate, why Reason) *keptBy {
	counted := !t.expects(c.container.ID) && !c.container.Signalled
	for i, k := range t.world.Keep {
		g := c.container.group(i, k)
		if k.refuses(g, t.alive().left(i, k, g, counted)) == why {
			return &keptBy{k, g}
		}
	}
	return nil
}

// text is "image nginx:1.25", "label:team blue", "name web-*".
func (k *keptBy) text() string {
	if k.One || !k.Known {
		return k.By
	}
	name := []rune(k.Name)
	if len(name) > maxGroupText { // the value of a label can be any text
		name = append(name[:maxGroupText], '…')
	}
	return k.By + " " + string(name)
}

const maxGroupText = 80 // characters of a group's name in a Detail

// alive counts the running containers in scope, without the planned kills in the rule's
// mode. It is cached until the next kill is planned, since each candidate needs it.
func (t *tick) alive() census {
	if t.living != nil {
		return t.living
	}
	t.living = newCensus(t.world.Keep)
	for _, c := range t.world.Containers {
		if !c.counts() || t.live[c.ID] || t.expects(c.ID) {
			continue
		}
		if t.rule.Mode == DryRun && (t.dry[c.ID] || t.dryKilled("", c)) {
			continue
		}
		t.living.add(c, t.world.Keep)
	}
	return t.living
}

// CheckKeep evaluates the keep rules on the Engine's current list, just before the kill
// of victim. gone reports containers whose end is in flight. It returns "" if every keep
// rule holds after the kill.
func CheckKeep(running []Container, victim Container, keep []Keep, gone func(id string) bool) Reason {
	left := newCensus(keep)
	counted := map[string]bool{victim.ID: true} // a list with duplicates counts each once
	for _, c := range running {
		if !counted[c.ID] && c.counts() && !gone(c.ID) {
			counted[c.ID] = true
			left.add(c, keep)
		}
	}
	for i, k := range keep {
		g := victim.group(i, k)
		if why := k.refuses(g, left.left(i, k, g, false)); why != "" {
			return why
		}
	}
	return ""
}
