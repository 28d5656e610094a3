// Package httpclient makes the HTTP clients for Prometheus and Alertmanager, from a
// file in the format of promtool's and amtool's --http.config.file: TLS,
// authentication, proxies. A password in a file is in no process list, and may change
// while the manager runs.
package httpclient

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/common/config"
)

// New returns a client for the server called name in errors. It is configured by file
// (https://prometheus.io/docs/prometheus/latest/configuration/promtool/), strictly
// parsed; paths in it are relative to it, and read at each request. Without file ("") it
// uses plain. timeout is the time limit of a request with its response; 0 is none.
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

// URL parses the address of the server called name in errors, which do not contain the
// password of the address.
func URL(name, address string) (*url.URL, error) {
	u, err := url.Parse(address)
	var wrong *url.Error
	if errors.As(err, &wrong) {
		err = wrong.Err // without the URL
	}
	if err != nil {
		return nil, fmt.Errorf("%s url: %w", name, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%s url %q: expected http://HOST:PORT", name, u.Redacted())
	}
	return u, nil
}
