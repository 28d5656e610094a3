// Package notifications tests the example receivers in prometheus/examples with a real
// Alertmanager.
package notifications

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
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
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

// requires has the release that an example needs, where it is newer than the oldest
// supported one. The example's comment must name it.
var requires = map[string]string{"receivers-webhook.yml": "0.26"}

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
		release, newer := requires[filepath.Base(path)]
		says := "Works with Alertmanager 0.25 and newer."
		if newer {
			says = "requires Alertmanager " + release
		}
		if !strings.Contains(strings.Join(strings.Fields(strings.ReplaceAll(string(text), "#", "")), " "), says) {
			t.Errorf("%s does not say %q", path, says)
		}
		config := stack.AlertmanagerConfig(t, root, t.TempDir(), filepath.Base(path), func(map[string]any) {})
		out, err := exec.Command(amtool, "check-config", config).CombinedOutput()
		if refused := newer && testutil.Before(t, amtool, release); (err != nil) != refused {
			t.Errorf("%s: error %v, want one: %v\n%s", path, err, refused, out)
		}
	}
}

// mailInbox starts an SMTP server that requires the password.
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
			go receiveMail(c, in, password)
		}
	}()
	return in, l.Addr().String()
}

// receiveMail implements the parts of RFC 5321 and RFC 4954 that Alertmanager uses.
func receiveMail(c net.Conn, in *stack.Inbox, password string) {
	defer c.Close()
	say := func(line string) { io.WriteString(c, line+"\r\n") }
	say("220 mail.example.org")
	authenticated := false
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
			if authenticated = strings.HasSuffix(string(text), "\x00"+password); authenticated {
				say("235 authenticated")
			} else {
				say("535 wrong password")
			}
		case verb == "QUIT":
			say("221 bye")
			return
		case !authenticated:
			say("530 authentication required")
		case verb == "DATA":
			say("354 start mail input")
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
			say("250 ok")
		default:
			say("250 ok")
		}
	}
}

// readable returns the subject and the parts of a mail, decoded.
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

// receivers holds an inbox for each example and the addresses of the Alertmanagers, one
// for each example.
type receivers struct {
	hook, slack, mail *stack.Inbox
	addresses         []string
}

func startReceivers(t *testing.T) receivers {
	t.Helper()
	const password = "from a file"
	dir := t.TempDir()
	secret := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var r receivers
	var hookURL, slackURL, smtp string
	r.hook, hookURL = stack.WebInbox(t)
	r.slack, slackURL = stack.WebInbox(t)
	r.mail, smtp = mailInbox(t, password)
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
		r.addresses = append(r.addresses, address)
	}
	return r
}

// begun and ended are the times of the test's alerts: fixed, as the messages show them.
var (
	begun = time.Date(2026, 3, 1, 4, 5, 6, 0, time.UTC)
	ended = begun.Add(time.Hour)
)

// TestMessages compares the messages of a real Alertmanager with golden files.
func TestMessages(t *testing.T) {
	r := startReceivers(t)
	near := posted{
		Labels: map[string]string{
			"alertname": "EstibaContainerNearMemoryLimit", "severity": "warning", "subject": "container", "name": "shop-cache",
			"id": "46d4ea61dfff", "host": "box1",
		},
		Annotations: map[string]string{
			"summary": "Container shop-cache uses 94% of its memory limit", "description": "One sentence. Another one.",
			"runbook_url": "http://localhost:10121/runbooks/EstibaContainerNearMemoryLimit", "dashboard_url": "/d/estiba-container/estiba-container?var-id=46d4ea61dfff",
		},
		StartsAt: begun,
	}
	hostile := posted{
		Labels: map[string]string{
			"alertname": "EstibaContainerLabelMisspelt", "severity": "critical", "subject": "container", "name": "<b>&co",
			"id": "0", "rule": "surplus",
		},
		Annotations: map[string]string{
			"summary": "Container <b>&co (0)", "description": "<!channel> & more",
			"runbook_url": "http://localhost:10121/runbooks/EstibaContainerLabelMisspelt", "dashboard_url": "/d/estiba-container/estiba-container?var-id=0",
		},
		StartsAt: begun,
	}
	r.post(t, near, hostile)
	golden(t, "mail-firing", r.mail.Wait(t, "shop-cache"))
	golden(t, "mail-hostile", r.mail.Wait(t, "var-id=0"))
	golden(t, "slack-firing", slackMessage(t, r.slack.Wait(t, "shop-cache")))
	golden(t, "slack-hostile", slackMessage(t, r.slack.Wait(t, "var-id=0")))
	called := webhookMessage(t, r.hook.Wait(t, "shop-cache"))
	if called.Status != "firing" || len(called.Alerts) != 1 || called.Alerts[0].Annotations["summary"] != near.Annotations["summary"] {
		t.Errorf("the webhook received %+v", called)
	}

	near.EndsAt = ended
	r.post(t, near)
	golden(t, "mail-resolved", r.mail.Wait(t, ended.Format(time.TimeOnly)))
	golden(t, "slack-resolved", slackMessage(t, r.slack.Wait(t, `"color":"good"`)))
	r.hook.Wait(t, `"status":"resolved"`)
}

// TestManyAlerts: a message about 200 containers, each with the longest and worst
// possible name, fits its receiver and says how many alerts it leaves out.
func TestManyAlerts(t *testing.T) {
	r := startReceivers(t)
	const many, link = 200, "/d/estiba-container/estiba-container?var-id="
	name := strings.Repeat("&<>ü", 60)
	var all []posted
	for i := range many {
		id := fmt.Sprintf("%012x", i)
		all = append(all, posted{
			Labels: map[string]string{
				"alertname": "EstibaContainerOOMKilled", "severity": "warning", "subject": "container", "name": name, "id": id,
				"host": "box1",
			},
			Annotations: map[string]string{
				"summary": "Container " + name + " (" + id + ")", "description": strings.Repeat("Container "+name+". ", 20),
				"runbook_url": "http://localhost:10121/runbooks/EstibaContainerOOMKilled", "dashboard_url": link + id,
			},
			StartsAt: begun,
		})
	}
	// fits checks the size of a Slack message and how many alerts it shows. The title
	// link is one more.
	fits := func(file, message string, shown int) {
		t.Helper()
		text := slackMessage(t, message)
		// Slack cuts the text of an attachment there.
		if n := utf8.RuneCountInString(text); n > 8000 {
			t.Errorf("%s: %d characters", file, n)
		}
		if n := strings.Count(text, link) - 1; n != shown {
			t.Errorf("%s: %d alerts are shown, want %d", file, n, shown)
		}
		golden(t, file, distinct(text))
	}
	r.post(t, all...)
	whole := fmt.Sprintf(" %d ", many) // in a message with all of them
	fits("slack-many-firing", r.slack.Wait(t, whole), 6)
	mail := r.mail.Wait(t, whole)
	text, page, _ := strings.Cut(mail, "--- text/html")
	if texts, pages := strings.Count(text, link), strings.Count(page, link); texts != 50 || pages != 50 {
		t.Errorf("the mail shows %d alerts as text and %d as a page, want 50 each", texts, pages)
	}
	golden(t, "mail-many-firing", distinct(mail))
	called := webhookMessage(t, r.hook.Wait(t, `"truncatedAlerts":150`))
	if len(called.Alerts) != 50 {
		t.Errorf("the webhook received %d alerts, want 50", len(called.Alerts))
	}
	for i := range all {
		all[i].EndsAt = ended
	}
	r.slack.Clear()
	r.mail.Clear()
	r.post(t, all...)
	fits("slack-many-resolved", r.slack.Wait(t, whole), 2)
	golden(t, "mail-many-resolved", distinct(r.mail.Wait(t, whole)))
}

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// golden compares a message with testdata/NAME.golden.
func golden(t *testing.T, name, message string) {
	t.Helper()
	message = strings.ReplaceAll(message, "\r\n", "\n")
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(message), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if message != string(want) {
		t.Errorf("%s differs (-update rewrites it)\n--- got\n%s\n--- want\n%s", path, message, want)
	}
}

// ownURL matches the address of a test's Alertmanager.
var ownURL = regexp.MustCompile(`http://[^/\s]+:\d+/#/`)

// distinct returns the first occurrence of each line that belongs to no single container,
// with Alertmanager's address replaced.
func distinct(message string) string {
	seen := map[string]bool{}
	var lines []string
	for _, line := range strings.Split(strings.ReplaceAll(message, "\r\n", "\n"), "\n") {
		if seen[line] || strings.Contains(line, "ü") || strings.Contains(line, "var-id=") {
			continue
		}
		seen[line] = true
		lines = append(lines, ownURL.ReplaceAllString(line, "http://ALERTMANAGER/#/"))
	}
	return strings.Join(lines, "\n") + "\n"
}

// slackMessage returns what Slack shows of a message, one part a line, the text last.
func slackMessage(t *testing.T, message string) string {
	t.Helper()
	var said struct {
		Channel     string
		Attachments []struct {
			Title, Text, Color, Fallback string
			TitleLink                    string `json:"title_link"`
		}
	}
	if err := json.Unmarshal([]byte(message), &said); err != nil || len(said.Attachments) != 1 {
		t.Fatalf("not a message with one attachment: %v: %s", err, message)
	}
	a := said.Attachments[0]
	return fmt.Sprintf("channel: %s\ncolor: %s\nfallback: %s\ntitle: %s\ntitle_link: %s\n\n%s", said.Channel, a.Color, a.Fallback, a.Title, a.TitleLink, a.Text)
}

// webhook is a message to a webhook.
type webhook struct {
	Status string
	Alerts []posted
}

func webhookMessage(t *testing.T, message string) webhook {
	t.Helper()
	var m webhook
	if err := json.Unmarshal([]byte(message), &m); err != nil {
		t.Fatalf("%v: %s", err, message)
	}
	return m
}

// post sends alerts to each of the Alertmanagers.
func (r receivers) post(t *testing.T, alerts ...posted) {
	t.Helper()
	for _, address := range r.addresses {
		post(t, address, alerts...)
	}
}

// posted is an alert in Alertmanager's API.
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
	testutil.Eventually(t, 20*time.Second, "Alertmanager accepts alerts", func() bool {
		answer, err := http.Post("http://"+address+"/api/v2/alerts", "application/json", strings.NewReader(string(body)))
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}
