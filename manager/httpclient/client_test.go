package httpclient

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// said is the basic authentication of a request, "USER:PASSWORD"; "" is none.
func said(t *testing.T, client *http.Client) string {
	t.Helper()
	var heard string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); ok {
			heard = user + ":" + password
		}
	}))
	defer server.Close()
	resp, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return heard
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPasswordFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "client.yml")
	write(t, file, "basic_auth: {username: estiba, password_file: password}\n")
	client, err := New("Prometheus", file, &http.Transport{}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if client.Timeout != time.Minute {
		t.Errorf("its time limit is %s", client.Timeout)
	}
	// The named file is relative to it, and read at each request.
	for _, password := range []string{"one", "two"} {
		write(t, filepath.Join(dir, "password"), password+"\n")
		if got := said(t, client); got != "estiba:"+password {
			t.Errorf("it says %q, want estiba:%s", got, password)
		}
	}
	if err := os.Remove(filepath.Join(dir, "password")); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Get("http://127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "password") {
		t.Errorf("without the file: %v", err)
	}
}

func TestWithoutFile(t *testing.T) {
	plain := &http.Transport{}
	client, err := New("Prometheus", "", plain, 0)
	if err != nil {
		t.Fatal(err)
	}
	if client.Transport != plain || said(t, client) != "" {
		t.Error("it is not the plain one")
	}
}

func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "client.yml")
	for content, want := range map[string]string{
		"basic_auht: {username: a}\n":                              "basic_auht",
		"basic_auth: {username: a, password: b, password_file: c}": "password",
		"basic_auth: [":                        "yaml",
		"tls_config: {ca_file: nowhere.crt}\n": "nowhere.crt",
	} {
		write(t, file, content)
		_, err := New("Alertmanager", file, &http.Transport{}, 0)
		if err == nil {
			t.Errorf("%q is taken", content)
			continue
		}
		for _, part := range []string{"Alertmanager", file, want} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q: %q does not say %q", content, err, part)
			}
		}
	}
	if _, err := New("Alertmanager", filepath.Join(dir, "none.yml"), &http.Transport{}, 0); err == nil {
		t.Error("a file that is not there is taken")
	}
}

func TestURL(t *testing.T) {
	for _, tt := range []struct{ address, wrong string }{
		{"http://localhost:9090", ""},
		{"https://u:secret@prometheus.example/prefix", ""},
		{"foo", `some url "foo": expected http://HOST:PORT`},
		{"ftp://u:secret@x", `some url "ftp://u:xxxxx@x": expected http://HOST:PORT`},
		{"http://u:secret@%zz", `some url: invalid URL escape "%zz"`},
		{"http://", `some url "http:": expected http://HOST:PORT`},
	} {
		t.Run(tt.address, func(t *testing.T) {
			u, err := URL("some", tt.address)
			if tt.wrong == "" {
				if err != nil || u.Host == "" {
					t.Errorf("URL = %v, %v", u, err)
				}
			} else if err == nil || err.Error() != tt.wrong {
				t.Errorf("error %v, want %s", err, tt.wrong)
			}
		})
	}
}
