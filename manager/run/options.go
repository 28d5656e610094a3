package run

import (
	"github.com/go-kit/log"

	"github.com/estiba/estiba/internal/web"
	"github.com/estiba/estiba/manager/gather"
)

// Options are the parts and settings of an App.
type Options struct {
	gather.Options
	ConfigFile   string // policy file; "" is the built-in policy
	AuditFile    string
	DockerHost   string // of Engine; the lock between managers is named for it
	GrafanaURL   string // as browsers reach it, for links; "" is none
	Web          web.Config
	AllowedHosts []string // names in the Host header that the pages accept, beside the host's own
	Logger       log.Logger
}
