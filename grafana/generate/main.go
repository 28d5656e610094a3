// Command generate writes the dashboards' files. Run it in the repository's
// root: go run ./grafana/generate
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/estiba/estiba/grafana"
)

func main() {
	if err := write(filepath.Join("grafana", "dashboards")); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	for _, d := range grafana.All() {
		data, err := d.Encode()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, d.File()), data, 0o644); err != nil {
			return fmt.Errorf("write dashboard %s: %w", d.UID, err)
		}
	}
	return nil
}
