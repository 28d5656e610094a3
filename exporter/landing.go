package main

import (
	"fmt"
	"net/http"

	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"
)

// landingPage is what a browser sees at /.
func landingPage(telemetry string) (http.Handler, error) {
	page, err := toolkit.NewLandingPage(toolkit.LandingConfig{
		Name:        "Estiba exporter",
		Description: "What the containers of this host use, as Prometheus metrics.",
		Version:     version.Info(),
		Profiling:   "false",
		Links: []toolkit.LandingLinks{
			{Address: telemetry, Text: "Metrics"},
			{Address: "/-/healthy", Text: "Health"},
			{Address: "/-/ready", Text: "Readiness", Description: "ready once the first snapshot was made"},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("making the landing page: %w", err)
	}
	return page, nil
}
