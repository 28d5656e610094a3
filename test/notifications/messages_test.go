// Package notifications has a real Alertmanager send messages to receivers of all
// sorts, as the examples under prometheus tell it to.
package notifications

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/stack"
)

// wants are the examples that older releases refuse. They say so.
var wants = map[string]string{"receivers-webhook.yml": "0.26"}

func TestExampleReceiversAreAccepted(t *testing.T) {
	root, amtool := testutil.RepositoryRoot(t), testutil.Tool(t, "amtool")
	examples, err := filepath.Glob(filepath.Join(root, "prometheus", "examples", "receivers-*.yml"))
	if err != nil || len(examples) < 3 {
		t.Fatalf("examples: %v, %v", examples, err)
	}
	for _, path := range examples {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		release, newer := wants[filepath.Base(path)]
		says := "Works with Alertmanager 0.25 and newer."
		if newer {
			says = "wants Alertmanager " + release
		}
		if !strings.Contains(strings.Join(strings.Fields(strings.ReplaceAll(string(text), "#", "")), " "), says) {
			t.Errorf("%s does not say %q", path, says)
		}
		config := stack.AlertmanagerConfig(t, root, t.TempDir(), filepath.Base(path), func(map[string]any) {})
		out, err := exec.Command(amtool, "check-config", config).CombinedOutput()
		if refused := newer && testutil.Before(t, amtool, release); (err != nil) != refused {
			t.Errorf("%s: %v, refused is to be %v\n%s", path, err, refused, out)
		}
	}
}

// mailInbox is a mail server that lets in who knows the password.
func mailInbox(t *testing.T, password string) (*stack.Inbox, string) {
	t.Helper()
	in := &stack.Inbox{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go takeMail(c, in, password)
		}
	}()
	return in, l.Addr().String()
}

// takeMail speaks as much of RFC 5321 and 4954 as a client of ours needs.
func takeMail(c net.Conn, in *stack.Inbox, password string) {
	defer c.Close()
	say := func(line string) { io.WriteString(c, line+"\r\n") }
	say("220 mail.example.org")
	known := false
	for lines := bufio.NewReader(c); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case verb == "EHLO":
			say("250-mail.example.org")
			say("250 AUTH PLAIN")
		case verb == "AUTH":
			_, given, _ := strings.Cut(rest, " ")
			text, _ := base64.StdEncoding.DecodeString(given)
			if known = strings.HasSuffix(string(text), "\x00"+password); known {
				say("235 welcome")
			} else {
				say("535 wrong password")
			}
		case verb == "QUIT":
			say("221 bye")
			return
		case !known:
			say("530 who are you")
		case verb == "DATA":
			say("354 go on")
			var message strings.Builder
			for {
				line, err := lines.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				message.WriteString(strings.TrimPrefix(line, "."))
			}
			in.Put(readable(message.String()))
			say("250 taken")
		default:
			say("250 good")
		}
	}
}

// readable is the subject and the parts of a mail, decoded.
func readable(raw string) string {
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		return "not a mail: " + err.Error()
	}
	subject, err := (&mime.WordDecoder{}).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		return err.Error()
	}
	text := subject + "\n"
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		return err.Error()
	}
	for parts := multipart.NewReader(m.Body, params["boundary"]); ; {
		part, err := parts.NextRawPart()
		if err != nil {
			return text
		}
		body, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			return err.Error()
		}
		text += "--- " + part.Header.Get("Content-Type") + "\n" + string(body)
	}
}

// TestMessages has a real Alertmanager send what the examples tell it to.
func TestMessages(t *testing.T) {
	const password = "from a file"
	dir := t.TempDir()
	secret := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	hook, hookURL := stack.WebInbox(t)
	slack, slackURL := stack.WebInbox(t)
	letters, smtp := mailInbox(t, password)
	addresses := map[string]string{}
	for example, adapt := range map[string]func(config map[string]any){
		"receivers-webhook.yml": func(config map[string]any) {
			stack.WebhookAt(t, config, hookURL, secret("webhook", hookURL))
		},
		"receivers-slack.yml": func(config map[string]any) {
			for _, one := range stack.Integrations(config, "slack_configs") {
				one["api_url_file"] = secret("slack", slackURL)
			}
		},
		"receivers-email.yml": func(config map[string]any) {
			for _, one := range stack.Integrations(config, "email_configs") {
				one["smarthost"], one["auth_password_file"], one["require_tls"] = smtp, secret("mail", password), false
			}
		},
	} {
		address := testutil.FreeAddress(t)
		where := filepath.Join(dir, example)
		if err := os.Mkdir(where, 0o755); err != nil {
			t.Fatal(err)
		}
		config := stack.AlertmanagerConfig(t, testutil.RepositoryRoot(t), where, example, func(config map[string]any) {
			adapt(config)
			stack.Impatient(config["route"].(map[string]any))
		})
		testutil.StartProcess(t, "alertmanager "+example, testutil.Tool(t, "alertmanager"), "--config.file="+config,
			"--storage.path="+filepath.Join(where, "data"), "--web.listen-address="+address, "--cluster.listen-address=")
		addresses[example] = address
	}

	begun := time.Date(2026, 3, 1, 4, 5, 6, 0, time.UTC)
	near := posted{
		Labels: map[string]string{"alertname": "EstibaContainerNearMemoryLimit", "severity": "warning", "subject": "container", "name": "shop-cache", "id": "46d4ea61dfff", "host": "box1"},
		Annotations: map[string]string{
			"summary": "shop-cache (46d4ea61dfff) is near its memory limit", "description": "Container shop-cache (46d4ea61dfff) holds 94% of its memory limit.",
			"runbook_url": "docs/runbooks/EstibaContainerNearMemoryLimit.md", "dashboard_url": "/d/estiba-container/estiba-container?var-id=46d4ea61dfff",
		},
		StartsAt: begun,
	}
	misspelt := posted{
		Labels: map[string]string{"alertname": "EstibaContainerLabelMisspelt", "severity": "critical", "subject": "container", "name": "<b>&co", "id": "0", "rule": "surplus"},
		Annotations: map[string]string{
			"summary": "A label of <b>&co (0) is misspelt", "description": "<!channel> & more",
			"runbook_url": "docs/runbooks/EstibaContainerLabelMisspelt.md", "dashboard_url": "/d/estiba-container/estiba-container?var-id=0",
		},
		StartsAt: begun,
	}
	for _, address := range addresses {
		post(t, address, near, misspelt)
	}

	const mailText = `[WARNING] shop-cache (46d4ea61dfff) is near its memory limit on box1
--- text/plain; charset=UTF-8
shop-cache (46d4ea61dfff) is near its memory limit
Container shop-cache (46d4ea61dfff) holds 94% of its memory limit.
  Container: shop-cache (id 46d4ea61dfff) on box1
  Since: 2026-03-01 04:05:06 UTC
  Look at: http://localhost:3000/d/estiba-container/estiba-container?var-id=46d4ea61dfff
  What to do: docs/runbooks/EstibaContainerNearMemoryLimit.md
`
	if m := strings.ReplaceAll(letters.Wait(t, "shop-cache"), "\r\n", "\n"); !strings.HasPrefix(m, mailText) || !strings.Contains(m, "<p><b>shop-cache (46d4ea61dfff) is near its memory limit</b></p>") {
		t.Errorf("the mail is\n%s\nwant it to begin with\n%s", m, mailText)
	}
	if m := letters.Wait(t, "misspelt"); !strings.Contains(m, "A label of &lt;b&gt;&amp;co (0) is misspelt</b>") || !strings.Contains(m, "\n  Rule: surplus\n") && !strings.Contains(m, "\r\n  Rule: surplus\r\n") {
		t.Errorf("the mail about a hostile name is\n%s", m)
	}

	var said struct {
		Channel     string
		Attachments []struct{ Title, TitleLink, Text, Color string }
	}
	if err := json.Unmarshal([]byte(slack.Wait(t, "shop-cache")), &said); err != nil {
		t.Fatal(err)
	}
	const slackText = "*shop-cache (46d4ea61dfff) is near its memory limit*\nContainer shop-cache (46d4ea61dfff) holds 94% of its memory limit.\n" +
		"<http://localhost:3000/d/estiba-container/estiba-container?var-id=46d4ea61dfff|Dashboard>, since 2026-03-01 04:05:06 UTC. What to do: docs/runbooks/EstibaContainerNearMemoryLimit.md\n"
	if a := said.Attachments[0]; said.Channel != "#operators" || a.Color != "warning" || a.Text != slackText || a.Title != "[WARNING] shop-cache (46d4ea61dfff) is near its memory limit on box1" {
		t.Errorf("Slack is told %+v, want the text %q", said, slackText)
	}
	if m := slack.Wait(t, "misspelt"); !strings.Contains(m, `\u0026lt;!channel\u0026gt; \u0026amp; more`) {
		t.Errorf("Slack is told %s", m)
	}

	var called struct {
		Status string
		Alerts []posted
	}
	if err := json.Unmarshal([]byte(hook.Wait(t, "shop-cache")), &called); err != nil {
		t.Fatal(err)
	}
	if called.Status != "firing" || len(called.Alerts) != 1 || called.Alerts[0].Annotations["summary"] != near.Annotations["summary"] {
		t.Errorf("the webhook got %+v", called)
	}

	near.EndsAt = time.Now()
	for _, address := range addresses {
		post(t, address, near)
	}
	letters.Wait(t, "[RESOLVED] shop-cache (46d4ea61dfff) is near its memory limit on box1")
	slack.Wait(t, "[RESOLVED] shop-cache")
	hook.Wait(t, `"status":"resolved"`)
}

// posted is an alert as Alertmanager takes and gives it.
type posted struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt,omitzero"`
}

func post(t *testing.T, address string, alerts ...posted) {
	t.Helper()
	body, err := json.Marshal(alerts)
	if err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, 20*time.Second, "Alertmanager takes alerts", func() bool {
		answer, err := http.Post("http://"+address+"/api/v2/alerts", "application/json", strings.NewReader(string(body)))
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}
