package release

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
)

type bom struct {
	Format       string `json:"bomFormat"`
	SpecVersion  string `json:"specVersion"`
	SerialNumber string `json:"serialNumber"`
	Metadata     struct {
		Timestamp string    `json:"timestamp"`
		Component component `json:"component"`
	} `json:"metadata"`
	Components []component `json:"components"`
}

type component struct {
	Name, Version string
	PURL          string `json:"purl"`
}

// TestBillsOfMaterials: each names the modules that Go has linked into the program, and
// no others.
func TestBillsOfMaterials(t *testing.T) {
	for _, arch := range architectures {
		for _, part := range parts {
			name := bomName(part, arch)
			var b bom
			if err := json.Unmarshal(read(t, *folder, name), &b); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if b.Format != "CycloneDX" || b.SpecVersion != "1.6" || b.SerialNumber+b.Metadata.Timestamp != "" {
				t.Errorf("%s: format %q %q, serial number %q, time %q", name, b.Format, b.SpecVersion, b.SerialNumber, b.Metadata.Timestamp)
			}
			if c := b.Metadata.Component; c.Name != "github.com/estiba/estiba" || c.Version != "v"+*version {
				t.Errorf("%s: it is about %s %s", name, c.Name, c.Version)
			}
			info, err := buildinfo.Read(bytes.NewReader(program(t, part, arch)))
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]bool{"std " + info.GoVersion: true}
			for _, module := range info.Deps {
				if module.Replace != nil {
					module = module.Replace
				}
				want[module.Path+" "+module.Version] = true
			}
			got := map[string]bool{}
			for _, c := range b.Components {
				got[c.Name+" "+c.Version] = true
				if !strings.HasPrefix(c.PURL, "pkg:golang/"+c.Name+"@") {
					t.Errorf("%s: %s has the package URL %q", name, c.Name, c.PURL)
				}
			}
			if len(want) < 2 || !maps.Equal(got, want) {
				t.Errorf("%s:\ngot  %q\nwant %q", name, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
			}
		}
	}
}
