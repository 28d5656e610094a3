// Package stack is the whole system as a test sees it from outside: four
// programs by their addresses, the Docker Engine they work on, and the
// manager's record. Where and how they run is the test's own matter.
package stack

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
)

// Stack is a running system.
type Stack struct {
	Addresses
	Docker *dockerclient.Client
	Record string // the manager's, a file of JSON lines

	// Patience is how long one step may take.
	Patience time.Duration
}

// Addresses are the host:port at which the four programs listen.
type Addresses struct {
	Exporter, Prometheus, Alertmanager, Manager string
}

// Usual are the addresses of the repository's own configuration.
func Usual() Addresses {
	return Addresses{Exporter: "localhost:10120", Prometheus: "localhost:9090", Alertmanager: "localhost:9093", Manager: "localhost:10121"}
}

// Fetch returns the body of a page. An answer other than 200 OK is an error.
func Fetch(url string) ([]byte, error) {
	client := &http.Client{Timeout: 30 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s: %s", url, resp.Status, body)
	}
	return body, nil
}

// Ready waits until the program at address says that it is ready.
func (s *Stack) Ready(t *testing.T, address string) {
	t.Helper()
	testutil.Eventually(t, s.Patience, "http://"+address+"/-/ready", func() bool {
		_, err := Fetch("http://" + address + "/-/ready")
		return err == nil
	})
}

// Scraped reads one series off the metrics page of the program at address; -1
// when it is not there.
func Scraped(t *testing.T, address, series string) float64 {
	t.Helper()
	v, err := Scrape(address, series)
	if err != nil {
		t.Logf("%v", err)
		return -1
	}
	return v
}

// Scrape is Scraped for those who can do without an answer.
func Scrape(address, series string) (float64, error) {
	body, err := Fetch("http://" + address + "/metrics")
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(body), "\n") {
		if text, ok := strings.CutPrefix(line, series+" "); ok {
			return strconv.ParseFloat(text, 64)
		}
	}
	return 0, fmt.Errorf("http://%s/metrics has no %s", address, series)
}

// Ticks is how many ticks of the manager ended with result.
func (s *Stack) Ticks(t *testing.T, result string) float64 {
	t.Helper()
	return Scraped(t, s.Manager, fmt.Sprintf("estiba_manager_ticks_total{result=%q}", result))
}
