// Package vulncheck pins govulncheck; run.sh runs it.
package vulncheck
