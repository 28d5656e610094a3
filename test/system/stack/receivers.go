package stack

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/estiba/estiba/internal/testutil"
)

// AlertmanagerConfig writes the shipped configuration, with the receivers of an
// example in place of its own, into the folder to and returns the path of its main
// file. adapt changes what cannot be the same in a test.
func AlertmanagerConfig(t *testing.T, root, to, example string, adapt func(config map[string]any)) string {
	t.Helper()
	shipped := filepath.Join(root, "prometheus")
	if err := os.CopyFS(filepath.Join(to, "templates"), os.DirFS(filepath.Join(shipped, "templates"))); err != nil {
		t.Fatal(err)
	}
	config := map[string]any{}
	for _, path := range []string{"alertmanager.yml", "examples/" + example} {
		data, err := os.ReadFile(filepath.Join(shipped, path))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(data, &config); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	adapt(config)
	data, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(to, "alertmanager.yml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Impatient lets every route send at once.
func Impatient(route map[string]any) {
	route["group_wait"], route["group_interval"] = "100ms", "300ms"
	below, _ := route["routes"].([]any)
	for _, r := range below {
		Impatient(r.(map[string]any))
	}
}

// Integrations are the settings of all integrations of a kind, such as webhook_configs.
func Integrations(config map[string]any, kind string) (list []map[string]any) {
	for _, r := range config["receivers"].([]any) {
		of, _ := r.(map[string]any)[kind].([]any)
		for _, one := range of {
			list = append(list, one.(map[string]any))
		}
	}
	return list
}

// WebhookAt has every webhook of the example post to url, which the file secret has.
// A release that does not read it from there is configured in the way that the example
// shows.
func WebhookAt(t *testing.T, config map[string]any, url, secret string) {
	t.Helper()
	direct := testutil.Before(t, testutil.Tool(t, "alertmanager"), "0.26")
	for _, one := range Integrations(config, "webhook_configs") {
		one["url_file"] = secret
		if direct {
			delete(one, "url_file")
			one["url"] = url
		}
	}
}

// Inbox is what reached a receiver.
type Inbox struct {
	mu       sync.Mutex
	messages []string
}

// Put adds a message.
func (i *Inbox) Put(message string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.messages = append(i.messages, message)
}

// Wait gives the first message that has text in it.
func (i *Inbox) Wait(t *testing.T, text string) string {
	t.Helper()
	found := ""
	testutil.Eventually(t, 20*time.Second, "a message with "+text, func() bool {
		i.mu.Lock()
		defer i.mu.Unlock()
		for _, m := range i.messages {
			if strings.Contains(m, text) {
				found = m
			}
		}
		return found != ""
	})
	return found
}

// WebInbox takes whatever is posted to it.
func WebInbox(t *testing.T) (*Inbox, string) {
	t.Helper()
	in := &Inbox{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		in.Put(string(body))
		io.WriteString(w, "ok") // what Slack answers
	}))
	t.Cleanup(server.Close)
	return in, server.URL
}

// All are the messages so far, the first one first.
func (i *Inbox) All() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.messages)
}

// Clear forgets the messages so far.
func (i *Inbox) Clear() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.messages = nil
}
