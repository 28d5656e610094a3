package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the messages beside the invalid files")

// Each invalid file holds one mistake (or says "several" in its name), its
// message stands beside it.
func TestEachMistake(t *testing.T) {
	files, err := filepath.Glob("testdata/invalid-*.yml")
	if err != nil || len(files) < 30 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(data)
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("Parse = %v, want Problems", err)
			}
			if !strings.Contains(file, "several") && len(problems) != 1 {
				t.Errorf("%d mistakes found in a file with one:\n%v", len(problems), err)
			}
			beside := strings.TrimSuffix(file, ".yml") + ".txt"
			got := err.Error() + "\n"
			if *update {
				if err := os.WriteFile(beside, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(beside)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("message is\n%swant\n%s", got, want)
			}
		})
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
		Rules: []Rule{{Name: "one", Query: "up", Action: ActionStop, Grace: 10 * time.Second, MaxKills: 20,
			Relief: Relief{By: ReliefByCount, StopAfter: 5, ResumeAfter: 10 * time.Minute}}},
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

// Nothing but live in the file, the rule and the command line makes it live.
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
	if _, err := Load("testdata/invalid-mode-missing.yml"); err == nil || !strings.Contains(err.Error(), "invalid-mode-missing.yml") {
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
