// Command generate writes the dashboards. Run it in the root of the repository:
//
//	go run ./grafana/generate
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/estiba/estiba/grafana"
)

func main() {
	if err := write("grafana"); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	for folder, boards := range grafana.Files() {
		for _, d := range boards {
			data, err := d.Encode()
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, folder, d.File()), data, 0o644); err != nil {
				return fmt.Errorf("writing dashboard %s: %w", d.UID, err)
			}
		}
	}
	return nil
}
