package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sort"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
	"github.com/estiba/estiba/manager/scratch"
)

// testEpoch is when the first case of a file begins. Cases lie a day apart, so
// that none sees another's samples.
var testEpoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

const testDistance = 24 * time.Hour

// errCases says that expectations did not hold; they have been printed.
var errCases = errors.New("the policy does not do what the tests expect")

// testPolicies runs policy test files on a Prometheus of their own, which is
// the program binary.
func testPolicies(ctx context.Context, files []string, binary string, stdout io.Writer) error {
	p := paint{on: isTerminal(stdout)}
	failed := 0
	for _, file := range files {
		n, err := testFile(ctx, file, binary, stdout, p)
		if err != nil {
			return err
		}
		failed += n
	}
	if failed > 0 {
		return fmt.Errorf("%w: %d cases failed", errCases, failed)
	}
	return nil
}

func testFile(ctx context.Context, file, binary string, stdout io.Writer, p paint) (failed int, err error) {
	f, err := config.LoadTests(file, reasonWords())
	if err != nil {
		return 0, err
	}
	c, err := loadPolicy(f.Policy)
	if err != nil {
		return 0, err
	}
	rules, err := loadRecordingRules(f.RuleFiles)
	if err != nil {
		return 0, err
	}
	text, err := rules.file()
	if err != nil {
		return 0, err
	}
	server, err := scratch.Start(ctx, binary, text)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	client, err := promql.New(server.URL, "", "", queryTimeout)
	if err != nil {
		return 0, err
	}
	fmt.Fprintln(stdout, p.bold(file))
	for i, one := range f.Cases {
		t := testCase{TestCase: one, from: testEpoch.Add(time.Duration(i) * testDistance), scrape: f.Scrape}
		wrong, err := t.run(ctx, c, rules, f.Evaluation, client, server)
		if err != nil {
			return failed, fmt.Errorf("%s: case %q: %w", file, t.Name, err)
		}
		if len(wrong) == 0 {
			fmt.Fprintf(stdout, "  %s  %s\n", p.green("ok    "), t.Name)
			continue
		}
		failed++
		fmt.Fprintf(stdout, "  %s  %s\n", p.red("FAILED"), t.Name)
		for _, line := range wrong {
			fmt.Fprintf(stdout, "          %s\n", line)
		}
	}
	return failed, nil
}

// reasonWords are the reasons that a container can be spared for.
func reasonWords() []string {
	words := []string{string(policy.NotSelected)}
	for _, r := range policy.Guards() {
		words = append(words, string(r))
	}
	return words
}

// testCase is a case with its place in time.
type testCase struct {
	config.TestCase
	from   time.Time
	scrape time.Duration
}

// run writes the case's history, has the recording rules evaluated over it,
// decides over it, and says in words what is not as expected.
func (t testCase) run(ctx context.Context, c *config.Config, rules recordingRules, evaluation time.Duration, client *promql.Client, server *scratch.Server) ([]string, error) {
	series, err := t.series()
	if err != nil {
		return nil, err
	}
	if err := server.Write(ctx, series); err != nil {
		return nil, err
	}
	steps := promql.Moments{Start: t.from, Step: evaluation, N: int(t.Duration/evaluation) + 1}
	if err := rules.evaluate(ctx, client, server, steps); err != nil {
		return nil, err
	}
	return t.check(ctx, client, c)
}

// series is the history of one case: what the exporter would have said of its
// containers, and what the case says itself.
func (t testCase) series() ([]scratch.Series, error) {
	from, scrape := t.from, t.scrape
	ids, own := map[string]string{}, map[string]bool{}
	for _, c := range t.Containers {
		ids[c.Name] = idOf(c.Name)
	}
	var input []inputSeries
	for _, s := range t.Series {
		one, err := parseSeries(s.Series, s.Values, ids)
		if err != nil {
			return nil, fmt.Errorf("series %s: %w", s.Series, err)
		}
		own[one.labels["__name__"]] = true
		input = append(input, one)
	}
	var list []scratch.Series
	n := int(t.Duration/scrape) + 1
	add := func(name string, labels map[string]string, value func(i int, at time.Time) (float64, bool)) {
		if own[name] && len(labels) == 0 {
			return // the case says itself how the exporter did
		}
		s := scratch.Series{Labels: map[string]string{"__name__": name}}
		for k, v := range labels {
			s.Labels[k] = v
		}
		was := false
		for i := range n {
			at := from.Add(time.Duration(i) * scrape)
			v, is := value(i, at)
			if is {
				s.Samples = append(s.Samples, scratch.Sample{At: at, Value: v})
			} else if was {
				s.Samples = append(s.Samples, scratch.Sample{At: at, Value: scratch.Stale()})
			}
			was = is
		}
		if len(s.Samples) > 0 {
			list = append(list, s)
		}
	}
	add("estiba_snapshot_timestamp_seconds", nil, func(_ int, at time.Time) (float64, bool) { return float64(at.Unix()), true })
	add("estiba_snapshot_sequence", nil, func(i int, _ time.Time) (float64, bool) { return float64(i + 1), true })
	add("estiba_scrape_success", nil, func(int, time.Time) (float64, bool) { return 1, true })
	for _, c := range t.Containers {
		runs := func(i int) bool {
			at := time.Duration(i) * scrape
			return at >= c.Start && (c.End == 0 || at < c.End)
		}
		id := ids[c.Name]
		short := container.ShortID(id)
		add("estiba_container_info", map[string]string{
			"id": short, "name": c.Name, "container_id": id, "image": c.Image, "kind": string(c.Kind), "managed": fmt.Sprint(c.Managed), "protected": fmt.Sprint(c.Protected),
		}, func(i int, _ time.Time) (float64, bool) { return 1, runs(i) })
		add("estiba_container_start_time_seconds", map[string]string{"id": short, "name": c.Name}, func(i int, _ time.Time) (float64, bool) {
			return float64(from.Add(c.Start-c.Age).UnixMilli()) / 1e3, runs(i)
		})
	}
	for _, s := range input {
		one := scratch.Series{Labels: s.labels}
		for i, v := range s.values {
			if !v.Omitted {
				one.Samples = append(one.Samples, scratch.Sample{At: from.Add(time.Duration(i) * scrape), Value: v.Value})
			}
		}
		list = append(list, one)
	}
	return list, nil
}

// check decides over the case.
func (t testCase) check(ctx context.Context, client *promql.Client, c *config.Config) ([]string, error) {
	r, err := newReplayer(client, c)
	if err != nil {
		return nil, err
	}
	from, interval := t.from, c.Interval
	plans := map[time.Duration]policy.Plan{}
	r.watch = func(at time.Time, p policy.Plan) { plans[at.Sub(from)] = p }
	out, err := r.run(ctx, promql.Moments{Start: from, Step: interval, N: int(t.Duration/interval) + 1})
	if err != nil {
		return nil, err
	}
	var wrong []string
	for name, e := range out.Unusable {
		if !t.NoData {
			wrong = append(wrong, fmt.Sprintf("rule %s: %d ticks without a usable answer, the last one: %s", name, e.Ticks, e.Error))
		}
	}
	sort.Strings(wrong)
	want := map[string]int{}
	for _, k := range t.Kills {
		want[killText(k)]++
	}
	for _, k := range out.Kills {
		got := killText(config.TestKill{At: k.Time.Sub(from), Rule: k.Rule, Container: k.Name})
		if want[got]--; want[got] < 0 {
			wrong = append(wrong, "killed, and should not be: "+got)
		}
	}
	for _, k := range t.Kills {
		if want[killText(k)]--; want[killText(k)] >= 0 {
			wrong = append(wrong, "not killed: "+killText(k)+instead(plans, k))
		}
	}
	for _, s := range t.Spared {
		plan, ticked := plans[s.At]
		if !ticked {
			wrong = append(wrong, fmt.Sprintf("no tick at %s: they come each %s", model.Duration(s.At), model.Duration(interval)))
			continue
		}
		if got, ok := reasonIn(plan, s.Rule, s.Container); !ok || got != s.Reason {
			wrong = append(wrong, fmt.Sprintf("at %s %s should be spared as %s, but is %s", model.Duration(s.At), s.Container, s.Reason, orGone(got)))
		}
	}
	return wrong, nil
}

func orGone(reason string) string {
	if reason == "" {
		return "not there"
	}
	return reason
}

// instead says what became of a container that should have been killed.
func instead(plans map[time.Duration]policy.Plan, k config.TestKill) string {
	plan, ticked := plans[k.At]
	if !ticked {
		return "; there is no tick at that time"
	}
	got, _ := reasonIn(plan, k.Rule, k.Container)
	return "; it is " + orGone(got)
}

// reasonIn finds the word on a container, by a rule or by any.
func reasonIn(p policy.Plan, rule, name string) (string, bool) {
	for _, d := range p.Decisions {
		if d.Container.Name == name && (rule == "" || d.Rule == rule || d.Rule == "") {
			return string(d.Reason), true
		}
	}
	return "", false
}

// idOf makes an id out of a name, the same one each time.
func idOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

type inputSeries struct {
	labels map[string]string
	values []parser.SequenceValue
}

// parseSeries reads a series in promtool's notation. A series that names a
// container of the case gets its id.
func parseSeries(series, values string, ids map[string]string) (inputSeries, error) {
	ls, list, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(series + " " + values)
	if err != nil {
		return inputSeries{}, err
	}
	s := inputSeries{labels: map[string]string{}}
	ls.Range(func(l labels.Label) { s.labels[l.Name] = l.Value })
	for _, v := range list {
		if v.Histogram != nil {
			return inputSeries{}, errors.New("a histogram; the manager reads numbers")
		}
		s.values = append(s.values, v)
	}
	name := s.labels["name"]
	if _, has := s.labels["id"]; !has && name != "" {
		id, known := ids[name]
		if !known {
			return inputSeries{}, fmt.Errorf("no container of the case is called %s, and the series has no id", name)
		}
		s.labels["id"] = container.ShortID(id)
	}
	return s, nil
}

func killText(k config.TestKill) string {
	return fmt.Sprintf("%s by %s at %s", k.Container, k.Rule, model.Duration(k.At))
}
