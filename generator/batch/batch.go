// Package batch draws batches of stress containers. The same random numbers give the
// same batch.
package batch

import (
	"math/rand/v2"

	"github.com/estiba/estiba/generator/load"
	"github.com/estiba/estiba/internal/container"
)

// Level is the load of a container.
type Level string

// Values of the label estiba.load.
const (
	High Level = "high" // above a class threshold, on every host
	Low  Level = "low"  // below both class thresholds, on hosts with 4 GB or more
)

// Levels returns both levels in a fixed order.
func Levels() []Level { return []Level{High, Low} }

// Item is one container of a batch.
type Item struct {
	Name   string
	Level  Level
	Params load.Params // with the kind
	Limits Limits
}

// Batch is a set of containers that is created together.
type Batch struct {
	ID    string // random, in the label estiba.batch
	Items []Item
}

// New draws a batch of n containers. Kind and level are independent and uniformly
// distributed.
func New(r *rand.Rand, n int) Batch {
	b := Batch{ID: word(r, idLength)}
	kinds, levels := container.Kinds(), Levels()
	taken := map[string]bool{}
	for len(b.Items) < n {
		kind, level := kinds[r.IntN(len(kinds))], levels[r.IntN(len(levels))]
		item := draw(r, kind, level)
		for item.Name = name(r, kind, level); taken[item.Name]; {
			item.Name = name(r, kind, level)
		}
		taken[item.Name] = true
		b.Items = append(b.Items, item)
	}
	return b
}

// draw chooses the parameters of a container of this kind and level.
func draw(r *rand.Rand, kind container.Kind, level Level) Item {
	p := parameters(r, kind, level)
	return Item{Level: level, Params: p, Limits: limits(p)}
}
