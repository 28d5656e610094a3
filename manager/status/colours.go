package status

import (
	"hash/fnv"
	"slices"

	"github.com/estiba/estiba/manager/promql"
)

// hues is the number of colours in style.css. A slot is a colour, solid or dashed.
const (
	hues  = 12
	slots = 2 * hues
)

// who names the container of a line: the same for all of its lives.
func who(l promql.Line) string {
	if name := string(l.Labels["name"]); name != "" {
		return name
	}
	return string(l.Labels["id"])
}

// colours gives each container a slot: the one it had before, else the one that its name
// selects, else the next free one. So a container has one colour in both graphs and at
// each refresh, and no two have the same while there are slots.
func colours(before map[string]int, graphs ...[]promql.Line) map[string]int {
	given, used := map[string]int{}, map[int]bool{}
	var fresh []string
	for _, lines := range graphs {
		for _, l := range lines {
			name := who(l)
			if slot, had := before[name]; had {
				given[name], used[slot] = slot, true
			} else if !slices.Contains(fresh, name) {
				fresh = append(fresh, name)
			}
		}
	}
	slices.Sort(fresh) // the order of names, not of usage, decides between two
	for _, name := range fresh {
		hash := fnv.New32a()
		hash.Write([]byte(name))
		first := int(hash.Sum32() % hues)
		slot := first
		for i := range slots {
			// All colours first, then the dashed ones.
			if next := (first+i)%hues + i/hues*hues; !used[next] {
				slot = next
				break
			}
		}
		given[name], used[slot] = slot, true
	}
	return given
}
