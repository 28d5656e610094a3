package gather

import "golang.org/x/sync/errgroup"

// Parallel calls do for each item, maxLookups at a time, and waits for all.
func Parallel[T any](list []T, do func(T)) {
	var g errgroup.Group
	g.SetLimit(maxLookups)
	for _, one := range list {
		g.Go(func() error {
			do(one)
			return nil
		})
	}
	g.Wait()
}
