package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write the messages of the invalid policies")

const invalidPolicies = "testdata/invalid.txtar"

// invalid reads the invalid policies: NAME.yml, and the message for it in NAME.txt.
func invalid(t testing.TB) *txtar.Archive {
	t.Helper()
	a, err := txtar.ParseFile(invalidPolicies)
	if err != nil || len(a.Files) < 60 || len(a.Files)%2 != 0 {
		t.Fatalf("reading %s: %v", invalidPolicies, err)
	}
	return a
}

// Each invalid policy has one mistake, or says "several" in its name.
func TestEachMistake(t *testing.T) {
	a := invalid(t)
	for i := 0; i < len(a.Files); i += 2 {
		policy, message := a.Files[i], &a.Files[i+1]
		t.Run(policy.Name, func(t *testing.T) {
			if want := strings.TrimSuffix(policy.Name, ".yml") + ".txt"; message.Name != want {
				t.Fatalf("%s comes after it, want %s", message.Name, want)
			}
			_, err := Parse(policy.Data)
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("Parse = %v, want Problems", err)
			}
			if !strings.Contains(policy.Name, "several") && len(problems) != 1 {
				t.Errorf("%d mistakes found in a file with one:\n%v", len(problems), err)
			}
			got := err.Error() + "\n"
			if *update {
				message.Data = []byte(got)
			}
			if got != string(message.Data) {
				t.Errorf("message is\n%swant\n%s", got, message.Data)
			}
		})
	}
	if *update {
		if err := os.WriteFile(invalidPolicies, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDefaults(t *testing.T) {
	c, err := Load("testdata/valid-defaults.yml")
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Mode: ModeDryRun, Interval: 10 * time.Second, MaxSampleAge: 20 * time.Second, MaxKillsPerTick: 20, Scope: ScopeManaged,
		Keep: []Keep{},
		Rules: []Rule{{
			Name: "one", Query: "up", Action: ActionStop, Grace: 10 * time.Second, MaxKills: 20,
			Relief: Relief{By: ReliefByCount, StopAfter: 5, ResumeAfter: 10 * time.Minute},
		}},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestRelief(t *testing.T) {
	c, err := Load("testdata/valid-relief.yml")
	if err != nil {
		t.Fatal(err)
	}
	want := Relief{By: ReliefByQuery, Query: "estiba_host_memory_used_bytes", AtLeast: 0.05, After: 30 * time.Second, StopAfter: 3, ResumeAfter: 0}
	if got := c.Rules[0].Relief; got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestKeep(t *testing.T) {
	c, err := Load("testdata/valid-keep.yml")
	if err != nil {
		t.Fatal(err)
	}
	want := []Keep{
		{By: KeepByKind, Min: 1},
		{By: KeepByImage, Min: 2},
		{By: KeepByImage, Match: "nginx", Min: 3},
		{By: KeepByName, Match: "web-*", Min: 4},
		{By: KeepByComposeService, Min: 5},
		{By: KeepByComposeService, Match: "*/web", Min: 6},
		{By: KeepByLabel, Label: "team", Min: 7},
		{By: KeepByLabel, Label: "com.example/team", Match: "blue *", Min: 8},
	}
	if !reflect.DeepEqual(c.Keep, want) {
		t.Errorf("got  %+v\nwant %+v", c.Keep, want)
	}
	var names []string
	for _, k := range c.Keep {
		names = append(names, k.Name())
	}
	if got := strings.Join(names, ", "); got != "kind, image, image nginx, name web-*, compose_service, compose_service */web, label:team, label:com.example/team blue *" {
		t.Error(got)
	}
}

func TestSchedule(t *testing.T) {
	c, err := Load("testdata/valid-schedule.yml")
	if err != nil {
		t.Fatal(err)
	}
	s := c.Rules[0].Schedule
	if s.TimeZone != "Europe/Madrid" || s.Location == nil || s.Location.String() != "Europe/Madrid" {
		t.Errorf("time zone %q, %v", s.TimeZone, s.Location)
	}
	want := []Window{
		{[7]bool{false, true, true, true, true, true, false}, 22 * time.Hour, 6 * time.Hour},
		{[7]bool{true, false, false, false, false, false, true}, 0, 24 * time.Hour},
		{[7]bool{true, true, true, true, true, true, true}, 12 * time.Hour, 12*time.Hour + 30*time.Minute},
	}
	if !reflect.DeepEqual(s.Windows, want) {
		t.Errorf("got  %+v\nwant %+v", s.Windows, want)
	}
}

// Without a limit per hour there is none; the default of max_kills is no contradiction.
func TestMaxKillsPerHour(t *testing.T) {
	c, err := Load("testdata/valid-per-hour.yml")
	if err != nil {
		t.Fatal(err)
	}
	if r := c.Rules; c.MaxKillsPerHour != 5 || r[0].MaxKillsPerHour != 5 || r[1].MaxKillsPerHour != 0 || r[2].MaxKillsPerHour != 1 || r[2].MaxKills != 20 {
		t.Errorf("%d, %+v", c.MaxKillsPerHour, r)
	}
}

// Volumes are kept by default; an alias has its anchor's value.
func TestRemoveVolumesAndAliases(t *testing.T) {
	c, err := Load("testdata/valid-remove-volumes.yml")
	if err != nil {
		t.Fatal(err)
	}
	if !c.Rules[0].RemoveVolumes || c.Rules[1].RemoveVolumes || c.Rules[2].Query != "topk(3, up)" {
		t.Errorf("%+v", c.Rules)
	}
}

// A short file with large values behind aliases is refused quickly.
func TestBoundsOfAFile(t *testing.T) {
	head := "mode: live\nkeep: []\nrules:\n"
	manyRules := strings.Repeat(" - {name: a, query: up, action: stop}\n", 101)
	list := "[" + strings.Repeat("a,", 40_000) + "]"
	for text, want := range map[string]string{
		head + " - {name: a, action: stop, query: '" + strings.Repeat("(", 20_000) + "up'}\n": "has 20002 characters, at most 10000 are allowed",
		head + manyRules:                 "rules: has 101 rules, at most 100 are allowed",
		strings.Repeat("#", 1<<20+1):     "the file is larger than 1048576 bytes",
		strings.Repeat("[", 100_000):     "exceeded max depth",
		head + " - {}\nprotect: " + list: "rules[0].name: is required",
		"x: &l " + list + "\nprotect: {names: *l}\nkeep: [" + strings.Repeat("{by: *l},", 10) + "]": "unknown key",
	} {
		begun := time.Now()
		_, err := Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s gives %.300v, want %s", text, err, want)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%.80s took %s", text, took)
		}
	}
	// A long text behind many aliases, in messages and as a query.
	long := "x: &x \"" + strings.Repeat("long ", 100_000) + "\"\n"
	sums := "x: &x \"up" + strings.Repeat("+up", 3000) + "\"\n"
	for text, want := range map[string]string{
		long + "mode: live\nkeep: [" + strings.Repeat("*x, ", 90_000) + "]\n": "has more than 200000 values",
		long + "mode: *x\n": `mode: "long long`,
		sums + head + strings.Repeat(" - {name: r, action: kill, query: *x, relief: {by: query, query: *x}}\n", 100): "one query too many",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > maxProblems*(maxMessage+200) {
			t.Errorf("%.80s gives %.300v, want %s", text, err, want)
		}
	}
	if _, err := ParseTests([]byte(long+"tests:\n - {name: a, kills: [], spared: ["+strings.Repeat("{at: *x}, ", 50_000)+"]}\n"), nil); err == nil ||
		!strings.Contains(err.Error(), "has more than 200000 values") {
		t.Errorf("a long text as a time: %.300v", err)
	}
	// The same list behind many aliases: each use counts.
	alias := "tests:\n - {name: a, kills: [], containers: &l [" + strings.Repeat("{name: a},", 1000) + "]}\n" +
		strings.Repeat(" - {name: b, kills: [], containers: *l}\n", 1000)
	if _, err := ParseTests([]byte(alias), nil); err == nil || !strings.Contains(err.Error(), "has more than 200000 values") {
		t.Errorf("many aliases: %.300v", err)
	}
}

func TestShippedPolicies(t *testing.T) {
	for file, rules := range map[string][]string{"one-of-each-kind.yml": {"surplus"}, "high-low.yml": {"high", "low"}} {
		c, err := Load(filepath.Join("..", "policies", file))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, r := range c.Rules {
			names = append(names, r.Name)
		}
		if !reflect.DeepEqual(names, rules) || c.Scope != ScopeManaged || c.Mode != ModeLive {
			t.Errorf("%s = %+v", file, c)
		}
	}
}

// Live requires live in the file, the rule and the command line.
func TestEffectiveMode(t *testing.T) {
	for _, mode := range []Mode{ModeLive, ModeDryRun, ""} {
		for _, rule := range []bool{false, true} {
			for _, flag := range []bool{false, true} {
				c := &Config{Mode: mode}
				live := c.EffectiveMode(Rule{DryRun: rule}, flag) == ModeLive
				if want := mode == ModeLive && !rule && !flag; live != want {
					t.Errorf("mode %q, rule dry %v, flag %v: live %v", mode, rule, flag, live)
				}
			}
		}
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	if _, err := Load("testdata/none.yml"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Load of no file: %v", err)
	}
	file := filepath.Join(t.TempDir(), "modeless.yml")
	if err := os.WriteFile(file, []byte("keep: []\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "modeless.yml") {
		t.Errorf("Load = %v, want the file's name", err)
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, file := range invalid(f).Files {
		f.Add(file.Data)
	}
	for _, odd := range []string{
		"---", "~", "a", "[]", "{}", "mode: &a [*a]", "&a {mode: live, keep: [], rules: *a}",
		"mode: live\nkeep: []\nrules: &r\n - *r\n", "*a", "? ? a\n",
	} {
		f.Add([]byte(odd))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data)
		if (c == nil) == (err == nil) {
			t.Fatalf("Parse = %v, %v", c, err)
		}
		if c != nil && (len(c.Rules) == 0 || c.Keep == nil || (c.Mode != ModeLive && c.Mode != ModeDryRun)) {
			t.Fatalf("accepted %+v", c)
		}
	})
}

// A pipe without a writer, and one without data, do not block.
func TestPolicyThatIsAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yml")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("without a writer: %v", err)
	}
	w, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := Load(path); err == nil {
		t.Error("with a writer and no data: no error")
	}
}
