package container

import (
	"slices"
	"strings"
)

// Index finds containers by their short or full ids.
type Index struct{ ids []string }

// NewIndex returns an Index of full ids, each once.
func NewIndex(ids []string) Index {
	sorted := slices.Clone(ids)
	slices.Sort(sorted)
	return Index{sorted}
}

// Find returns the one id that begins with prefix. A prefix shorter than a short id
// finds none, and so does one that several ids begin with.
func (x Index) Find(prefix string) (id string, found bool) {
	if len(prefix) < ShortIDLength {
		return "", false
	}
	at, _ := slices.BinarySearch(x.ids, prefix)
	has := func(i int) bool { return i < len(x.ids) && strings.HasPrefix(x.ids[i], prefix) }
	if !has(at) || has(at+1) {
		return "", false
	}
	return x.ids[at], true
}
