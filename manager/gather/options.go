package gather

import (
	"context"
	"net/http"
	"time"

	"github.com/estiba/estiba/manager/enforce"
)

// Options is where a Gatherer finds the other programs.
type Options struct {
	PrometheusURL string
	// PrometheusHTTPConfig is the file for TLS and passwords, see package httpclient;
	// "" is none.
	PrometheusHTTPConfig   string
	AlertmanagerURL        string // "" is none
	AlertmanagerHTTPConfig string // as PrometheusHTTPConfig
	Host                   string // value of the label host; "" is any
	DryRun                 bool
	Engine                 enforce.Engine
	Self                   Self // the manager's own container, if any
	Now                    func() time.Time
	// Transport replaces the network on the way to Prometheus, if not nil.
	Transport http.RoundTripper
	// LookupHost replaces the system's resolver, if not nil.
	LookupHost func(ctx context.Context, host string) ([]string, error)
}
