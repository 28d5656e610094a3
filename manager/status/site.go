package status

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
)

// sameOrigin refuses cross-site requests of browsers, which could reload the policy.
// Other clients send no Origin.
//
// https://developer.mozilla.org/en-US/docs/Web/HTTP/Headers/Sec-Fetch-Site
func sameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fromHere(r) {
			writeText(w, http.StatusForbidden, "refused: cross-site request\n")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func fromHere(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		return err == nil && strings.EqualFold(u.Host, r.Host)
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return true
	}
	// A link on another site may lead here, but change nothing.
	return r.Header.Get("Sec-Fetch-Mode") == "navigate" && (r.Method == http.MethodGet || r.Method == http.MethodHead)
}

// OwnHost refuses requests for a foreign host name. By DNS rebinding a site can make
// its own name resolve to the manager's address, and would have the same origin for a
// browser. Addresses, names without a dot, the host's own name and allowed names pass.
func OwnHost(next http.Handler, allowed []string) http.Handler {
	own, _ := os.Hostname()
	known := map[string]bool{"localhost": true}
	for _, name := range append([]string{own}, allowed...) {
		known[strings.ToLower(strings.TrimSuffix(name, "."))] = true
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
		_, address := netip.ParseAddr(host)
		if strings.ContainsAny(host, ".%") && address != nil && !known[host] {
			writeText(w, http.StatusForbidden, "refused: unknown host name "+host+"; add it with --web.allowed-host\n")
			return
		}
		next.ServeHTTP(w, r)
	})
}
