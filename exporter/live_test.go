package main

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// topTree is a tree of two containers, of which the second has a hostile name of its own,
// and the flags of top to read it.
func topTree(t *testing.T, docker string) []string {
	t.Helper()
	tr, err := hosttree.New(t.TempDir(), hosttree.Layouts()["v2-systemd"])
	if err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		if err := tr.Add(hosttree.Numbered(n)); err != nil {
			t.Fatal(err)
		}
	}
	file := tr.Process(hosttree.Numbered(1).Processes[0], "stat")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b = regexp.MustCompile(`\(.*\)`).ReplaceAll(b, []byte("(\x1b[2J\u202eevil)"))
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return []string{
		"top", "--source=cgroup", "--path.procfs=" + tr.Proc, "--path.cgroup=" + tr.Cgroup, "--interval=300ms", "--docker.host=" + docker,
	}
}

func showsAll(t *testing.T, m *testutil.Terminal, what string, texts ...string) {
	t.Helper()
	last := ""
	defer func() {
		if t.Failed() {
			t.Logf("the screen:\n%s", last)
		}
	}()
	testutil.Eventually(t, 20*time.Second, what+": "+strings.Join(texts, ", "), func() bool {
		last = m.Screen(t)
		for _, text := range texts {
			if !strings.Contains(last, text) {
				return false
			}
		}
		return true
	})
}

func exits(t *testing.T, m *testutil.Terminal, want string) {
	t.Helper()
	testutil.Eventually(t, 10*time.Second, "the program ends", func() bool { _, ok := m.Ended(t); return ok })
	if status, _ := m.Ended(t); status != want || m.Alternate(t) {
		t.Errorf("exit status %s, want %s; still in the alternate screen: %v", status, want, m.Alternate(t))
	}
}

// TestTopInTerminal drives the real program by keys, in a real terminal.
func TestTopInTerminal(t *testing.T) {
	testutil.Require(t, "tmux")
	bin := testutil.Build(t, "./exporter")
	e := startEngine(t, 24, 43)
	e.put("", hosttree.Numbered(0).ID, &engineContainer{Name: "web-1", Image: "i", Labels: map[string]string{"com.docker.compose.project": "shop"}})
	short := hosttree.Numbered(1).ID[:12]
	m := testutil.StartTerminal(t, 80, 24, nil, append([]string{bin}, topTree(t, e.host)...)...)
	showsAll(t, m, "both containers, of which Docker knows one", "2 containers", "web-1 ", short+` \x1b[`, "▼CPU%", "q quit")
	m.Keys(t, "t")
	showsAll(t, m, "the tree", "shop (1)", "└─ web-1")
	m.Keys(t, "n")
	showsAll(t, m, "another order", "▼RX/s")
	m.Keys(t, "?")
	showsAll(t, m, "help", "any key returns")
	m.Keys(t, "x")
	m.Resize(t, 160, 40)
	showsAll(t, m, "more columns", "COMMAND", `\u202eevil`)
	m.Keys(t, "/", "W", "e", "b", "Enter")
	showsAll(t, m, "the filter", "filter: Web")
	testutil.Eventually(t, 10*time.Second, "only one container", func() bool { return !strings.Contains(m.Screen(t), short) })
	m.Resize(t, 20, 3)
	showsAll(t, m, "a tiny screen", "NAME")
	m.Resize(t, 80, 24)
	if styled := m.Styled(t); !regexp.MustCompile(`\x1b\[[0-9;]*3[1-6]m`).MatchString(styled) {
		t.Errorf("no colours: %q", styled)
	}
	m.Keys(t, "q")
	exits(t, m, "0")
}

// TestTopSignals: the terminal is restored, and warnings come after the screen.
func TestTopSignals(t *testing.T) {
	testutil.Require(t, "tmux")
	bin := testutil.Build(t, "./exporter")
	flags := topTree(t, "unix://"+filepath.Join(t.TempDir(), "none.sock"))
	m := testutil.StartTerminal(t, 100, 24, []string{"NO_COLOR=1"}, append([]string{bin}, flags...)...)
	showsAll(t, m, "containers without names", hosttree.Numbered(0).ID[:12])
	if styled := m.Styled(t); regexp.MustCompile(`\x1b\[[0-9;]*3[1-6]m`).MatchString(styled) {
		t.Errorf("colours in spite of NO_COLOR: %q", styled)
	}
	pids := m.Children(t)
	if len(pids) != 1 {
		t.Fatalf("children %v", pids)
	}
	syscall.Kill(pids[0], syscall.SIGTERM)
	exits(t, m, "0")

	m = testutil.StartTerminal(t, 100, 24, nil, bin, "top", "--source=kmod", "--source.kmod-file="+filepath.Join(t.TempDir(), "none"))
	showsAll(t, m, "the error", "none: not found", "q quit")
	m.Keys(t, "q")
	exits(t, m, "1")
}

// TestTopOnce: a pipe gets one table without styles, in spite of an Engine that hangs.
func TestTopOnce(t *testing.T) {
	bin := testutil.Build(t, "./exporter")
	e := startEngine(t, 24, 43)
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	e.instead(func(http.ResponseWriter, *http.Request) bool { <-hang; return true })
	flags := topTree(t, e.host)
	run := func(more ...string) string {
		begun := time.Now()
		cmd := exec.Command(bin, append(flags, more...)...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
		return string(out)
	}
	text := run()
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x202e }) || !strings.Contains(text, hosttree.Numbered(1).ID[:12]) {
		t.Errorf("%q", text)
	}
	var parsed struct {
		Interval   float64 `json:"interval_seconds"`
		Containers []struct{ ID string }
	}
	if err := json.Unmarshal([]byte(run("--once", "--output=json")), &parsed); err != nil {
		t.Fatal(err)
	}
	if len(parsed.Containers) != 2 || parsed.Interval < 0.25 {
		t.Errorf("%+v", parsed)
	}
	if out, err := exec.Command(bin, "top", "--interval=1ms").CombinedOutput(); err == nil {
		t.Errorf("an interval of 1ms is accepted: %s", out)
	}
}

// TestTopOnContainers: a container that burns a core leads the list of a real Engine.
func TestTopOnContainers(t *testing.T) {
	testutil.Require(t, "tmux")
	e := testutil.StartEngine(t)
	docker := e.Client(t)
	const image = "estiba-test/top:1"
	testutil.LivesImage(t, docker, image)
	id := begin(t, docker, dockerclient.Spec{Name: "burner", Image: image, Command: []string{"burn"}})
	bin := testutil.Build(t, "./exporter")
	m := testutil.StartTerminal(t, 120, 40, nil, bin, "top", "--source=cgroup", "--docker.host="+e.Host, "--interval=500ms", "--filter=burner")
	row := regexp.MustCompile(`(?m)^burner +` + id[:12] + ` +([0-9.]+) +\d`)
	screen := ""
	defer func() {
		if t.Failed() {
			t.Logf("the screen:\n%s", screen)
		}
	}()
	testutil.Eventually(t, 20*time.Second, "the burner with its name and use of CPU", func() bool {
		screen = m.Screen(t)
		found := row.FindStringSubmatch(screen)
		if found == nil {
			return false
		}
		percent, err := strconv.ParseFloat(found[1], 64)
		return err == nil && percent > 5
	})
	m.Keys(t, "q")
	exits(t, m, "0")
}
