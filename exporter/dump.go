package main

import (
	"context"
	"fmt"
	"io"

	"github.com/go-kit/log"

	"github.com/estiba/estiba/exporter/source/kmod"
)

// Dump writes one snapshot of the selected source as a document of version 1, to compare
// sources.
func Dump(ctx context.Context, c Config, out io.Writer, logger log.Logger) error {
	s, err := newSources(c, logger)
	if err != nil {
		return err
	}
	snap, err := s.completed(ctx)
	if err != nil {
		return err
	}
	if err := kmod.Write(out, snap); err != nil {
		return fmt.Errorf("writing the document: %w", err)
	}
	return nil
}
