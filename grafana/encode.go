package grafana

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// File is the name of the dashboard's file under dashboards/.
func (d Dashboard) File() string { return d.UID + ".json" }

// Encode returns the dashboard as its file holds it: indented JSON, no HTML
// escapes, a newline at the end.
func (d Dashboard) Encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		return nil, fmt.Errorf("encode dashboard %s: %w", d.UID, err)
	}
	return b.Bytes(), nil
}
