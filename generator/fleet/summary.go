package fleet

import (
	"fmt"
	"strings"

	"github.com/estiba/estiba/generator/batch"
	"github.com/estiba/estiba/internal/container"
)

// summary is the log message of a batch: "created 3 containers: 2 cpu high, 1 ram low".
func summary(created []batch.Item) string {
	counts := map[string]int{}
	for _, i := range created {
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
	if len(created) == 1 {
		noun = "container"
	}
	line := fmt.Sprintf("created %d %s", len(created), noun)
	if len(parts) > 0 {
		line += ": " + strings.Join(parts, ", ")
	}
	return line
}
