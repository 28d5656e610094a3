package completion

import (
	"context"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup"
)

// OpenFiles adds the number of open file descriptors of each container. The document does
// not list processes, so they are assigned to containers as in the cgroup source.
type OpenFiles struct {
	module  source.Source
	counter *cgroup.OpenFiles
}

// NewOpenFiles wraps the module. It uses Config.ProcFS, CgroupFS, Owner and OnMissing.
func NewOpenFiles(module source.Source, c cgroup.Config) *OpenFiles {
	return &OpenFiles{module: module, counter: cgroup.NewOpenFiles(c)}
}

// Name returns the name of the module.
func (o *OpenFiles) Name() string { return o.module.Name() }

// Snapshot returns the module's snapshot with the open files of running containers.
// After an error no file stays open.
func (o *OpenFiles) Snapshot(ctx context.Context) (*source.Snapshot, error) {
	snap, err := o.module.Snapshot(ctx)
	if err != nil {
		o.counter.Release()
		return nil, err
	}
	if err := o.counter.Fill(ctx, snap); err != nil {
		return nil, err
	}
	return snap, nil
}
