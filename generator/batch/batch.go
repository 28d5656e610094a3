// Package batch decides what a batch of stress containers is. It is pure: the
// same random numbers give the same batch.
package batch

import (
	"math/rand/v2"

	"github.com/estiba/estiba/generator/load"
	"github.com/estiba/estiba/internal/container"
)

// Level is how heavy a container is.
type Level string

// The levels, as they stand in the label estiba.load.
const (
	High Level = "high" // over a threshold of the class, on every host
	Low  Level = "low"  // under both thresholds, on hosts from 4 GB up
)

// Levels returns both levels in their fixed order.
func Levels() []Level { return []Level{High, Low} }

// Item is one container of a batch.
type Item struct {
	Name   string
	Level  Level
	Params load.Params // with the kind
	Limits Limits
}

// Batch is what is created at one time.
type Batch struct {
	ID    string // random, in the label estiba.batch
	Items []Item
}

// New draws a batch of n containers. Each kind and each level is as probable
// as the others, independently.
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

// draw chooses how heavy a container of this kind and level is.
func draw(r *rand.Rand, kind container.Kind, level Level) Item {
	p := parameters(r, kind, level)
	return Item{Level: level, Params: p, Limits: limits(p)}
}
