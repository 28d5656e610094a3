package herd

import (
	"fmt"
	"strings"

	"github.com/estiba/estiba/generator/batch"
	"github.com/estiba/estiba/internal/container"
)

// summary says in one line what was made: "created 3 containers: 2 cpu high,
// 1 ram low".
func summary(made []batch.Item) string {
	counts := map[string]int{}
	for _, i := range made {
		counts[string(i.Params.Kind)+" "+string(i.Level)]++
	}
	var parts []string
	for _, k := range container.Kinds() {
		for _, l := range batch.Levels() {
			what := string(k) + " " + string(l)
			if n := counts[what]; n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", n, what))
			}
		}
	}
	noun := "containers"
	if len(made) == 1 {
		noun = "container"
	}
	line := fmt.Sprintf("created %d %s", len(made), noun)
	if len(parts) > 0 {
		line += ": " + strings.Join(parts, ", ")
	}
	return line
}
