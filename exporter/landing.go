package main

import (
	"fmt"
	"net/http"

	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"
)

// landingPage returns the page at /.
func landingPage(telemetry string) (http.Handler, error) {
	page, err := toolkit.NewLandingPage(toolkit.LandingConfig{
		Name:        "Estiba exporter",
		Description: "Resource usage of the containers of this host, as Prometheus metrics.",
		Version:     version.Version,
		Profiling:   "false",
		Links: []toolkit.LandingLinks{
			{Address: telemetry, Text: "Metrics"},
			{Address: "/-/healthy", Text: "Health"},
			{Address: "/-/ready", Text: "Readiness", Description: "ready after the first snapshot"},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("creating the landing page: %w", err)
	}
	return page, nil
}
