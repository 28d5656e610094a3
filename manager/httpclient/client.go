// Package httpclient makes the clients that ask Prometheus and Alertmanager, from
// the file that promtool and amtool take as --http.config.file: TLS, passwords,
// tokens, proxies. A password in a file is in no process list, and may change while
// the manager runs.
package httpclient

import (
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/common/config"
)

// New is a client for one server, named in errors and by name. With file it goes by
// what stands there (https://prometheus.io/docs/prometheus/latest/configuration/promtool/),
// strictly read; paths in it are looked for beside it, and read at each request.
// Without one, "", it goes by plain. timeout is of one request with its answer; 0 is
// none.
func New(name, file string, plain *http.Transport, timeout time.Duration) (*http.Client, error) {
	if file == "" {
		return &http.Client{Transport: plain, Timeout: timeout}, nil
	}
	var client *http.Client
	c, _, err := config.LoadHTTPConfigFile(file)
	if err == nil {
		client, err = config.NewClientFromConfig(*c, name)
	}
	if err != nil {
		return nil, fmt.Errorf("HTTP configuration for %s: %s: %w", name, file, err)
	}
	client.Timeout = timeout
	return client, nil
}
