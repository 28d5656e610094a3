package promql

import "net/http"

// SetTransport replaces the network by transport, for all requests.
func (c *Client) SetTransport(transport http.RoundTripper) {
	c.plain, c.pages = &http.Client{Transport: transport}, &http.Client{Transport: transport, Timeout: c.timeout}
}
