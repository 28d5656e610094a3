package main

import (
	"time"

	"github.com/go-kit/log"

	"github.com/estiba/estiba/internal/web"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/enforce"
	"github.com/estiba/estiba/manager/policies"
)

// Engine is the Docker Engine as the manager uses it.
type Engine interface {
	enforce.Reader
	enforce.Actor
}

// Options is all that a manager is made of.
type Options struct {
	ConfigFile    string // policy file; "" is the built-in one-of-each-kind
	PrometheusURL string
	// PrometheusHTTPConfig says how Prometheus is asked, see package httpclient; "" is
	// without more than the address says.
	PrometheusHTTPConfig string
	// AlertmanagerURL is whom rules with announce ask for objections.
	AlertmanagerURL        string
	AlertmanagerHTTPConfig string // as PrometheusHTTPConfig
	Host                   string // value of the label host; "" asks for all
	AuditFile              string
	DryRun                 bool
	Web                    web.Config
	Engine                 Engine
	DockerHost             string // of Engine; what the lock between managers goes by
	// Self is what the manager knows of the container it runs in, if any.
	Self   Self
	Logger log.Logger
	Now    func() time.Time
}

// loadPolicy reads the policy file, or the built-in one.
func loadPolicy(path string) (*config.Config, error) {
	if path == "" {
		return config.Parse(policies.OneOfEachKind)
	}
	return config.Load(path)
}
