//go:build estiba_vm

package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/estiba/estiba/internal/dockerclient"
)

// call calls the Docker Engine's API where dockerclient has no method. Running the docker
// command takes seconds on an emulated machine.
func call(t *testing.T, method, path string, body any) []byte {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", "/var/run/docker.sock")
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequest(method, "http://docker"+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Transport: transport, Timeout: patience}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s: %s, %v", method, path, resp.Status, answer, err)
	}
	return answer
}

// options are options of a container to create, as in the Engine's API.
type options struct {
	host   map[string]any // HostConfig
	labels map[string]string
}

// box runs a busybox script in an unmanaged container.
func (m *machine) box(t *testing.T, name, script string, o options) dockerclient.Container {
	t.Helper()
	call(t, "POST", "/containers/create?name="+name, map[string]any{
		"Image": boxImage, "Cmd": []string{"sh", "-c", script}, "Labels": o.labels, "HostConfig": o.host, "StopTimeout": 1,
	})
	call(t, "POST", "/containers/"+name+"/start", nil)
	return m.Inspect(t, name)
}

// exec starts a program in a container and does not wait for it.
func (m *machine) exec(t *testing.T, name string, argv ...string) {
	t.Helper()
	var made struct {
		ID string `json:"Id"`
	}
	if err := json.Unmarshal(call(t, "POST", "/containers/"+name+"/exec", map[string]any{"Cmd": argv}), &made); err != nil {
		t.Fatal(err)
	}
	call(t, "POST", "/exec/"+made.ID+"/start", map[string]any{"Detach": true})
}
