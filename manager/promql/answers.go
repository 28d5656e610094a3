package promql

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/prometheus/common/model"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/policy"
)

// Result is one rule's answer, and what is known about it.
type Result struct {
	Answer policy.Answer
	Err    error         // why it is unusable
	Failed bool          // Prometheus itself failed, as opposed to an unusable result
	Reach  time.Duration // how far back the query looks
	// lookBack is how far back its data may be from: Reach, and how old recorded series
	// and the snapshot they saw may be. Zero: the query reads current samples only.
	lookBack time.Duration
	// ReliefErr is why the relief value is unknown, if there is a relief query.
	ReliefErr error
	// Evaluated is the oldest evaluation of the recorded series that the query reads;
	// zero: it reads none.
	Evaluated time.Time
	// StaleErr is why Answer.Stale.
	StaleErr error
}

// Queries are the queries of a rule.
type Queries struct {
	Query Expr
	// Relief is the relief query; nil is none.
	Relief *Expr
}

// Evaluate evaluates the queries of all rules at one time, in parallel, with the start,
// history and labels of each candidate. Recorded series may be evaluated maxAge ago.
func (c *Client) Evaluate(ctx context.Context, perRule []Queries, at time.Time, maxAge time.Duration) []Result {
	results := make([]Result, len(perRule))
	rows := make([][]Row, len(perRule))
	reliefValues := make([]*float64, len(perRule))
	// Before the queries: results may be newer than assumed then, never older.
	rules, rulesErr := c.recordings(ctx)
	var k knowledge
	var knownErr error
	var side sync.WaitGroup
	side.Go(func() { k, knownErr = c.knowledge(ctx, at) })
	for i, one := range perRule {
		side.Go(func() { rows[i], results[i].Err = c.Vector(ctx, one.Query, at) })
		if one.Relief != nil {
			side.Go(func() { reliefValues[i], results[i].ReliefErr = c.number(ctx, *one.Relief, at) })
		}
	}
	side.Wait()

	snapshots := map[time.Time]func() (time.Time, error){}
	for i := range results {
		r := &results[i]
		for _, err := range []error{knownErr, rulesErr} {
			if r.Err == nil {
				r.Err = err
			}
		}
		if r.Err == nil {
			r.recorded(rules.read(perRule[i].Query, at, maxAge), maxAge, func(evaluated time.Time) (time.Time, error) {
				if snapshots[evaluated] == nil {
					snapshots[evaluated] = sync.OnceValues(func() (time.Time, error) { return c.snapshotAt(ctx, evaluated) })
				}
				return snapshots[evaluated]()
			})
		}
	}
	histories := c.histories(ctx, results, rows, at)
	shared, sharedErr := c.shared(ctx, results, rows, at)
	for i := range results {
		r := &results[i]
		if r.Err == nil {
			r.Err = sharedErr
		}
		r.compose(rows[i], k, histories[r.Reach])
		for j := range r.Answer.Samples {
			if s := &r.Answer.Samples[j]; shared[i][container.ShortID(s.ID)] {
				s.Start = time.Time{} // unknown which life was measured
			}
		}
		if reliefValues[i] == nil {
			continue
		}
		switch read := rules.read(*perRule[i].Relief, at, maxAge); {
		case rulesErr != nil:
			r.ReliefErr = fmt.Errorf("relief value: %w", rulesErr)
		case read.unknown != nil:
			r.ReliefErr = fmt.Errorf("relief value: %w", read.unknown)
		case read.stale != nil:
			r.ReliefErr = fmt.Errorf("relief value: %w", read.stale)
		default:
			r.Answer.ReliefValue, r.Answer.ReliefValueKnown = *reliefValues[i], true
		}
	}
	return results
}

// recorded takes over what the query reads through recording rules. snapshot is the
// time of the snapshot that an evaluation saw.
func (r *Result) recorded(read reading, maxAge time.Duration, snapshot func(evaluated time.Time) (time.Time, error)) {
	r.Err = read.unknown
	r.Reach = (read.reach + time.Second - 1).Truncate(time.Second) // few distinct values
	if r.lookBack = r.Reach; read.rules {
		r.lookBack = max(r.Reach, (2*maxAge + maxDelay).Truncate(time.Second))
	}
	r.Evaluated = read.at
	if r.StaleErr = read.stale; read.rules && r.StaleErr == nil {
		r.Answer.At, r.StaleErr = snapshot(read.at)
	}
	r.Answer.Stale = r.StaleErr != nil
}

// histories queries the history that the answers need, by reach.
func (c *Client) histories(ctx context.Context, results []Result, rows [][]Row, at time.Time) map[time.Duration]history {
	found := map[time.Duration]history{}
	deepest := time.Duration(0)
	for i, r := range results {
		if r.Err == nil && r.Reach > 0 && len(rows[i]) > 0 {
			found[r.Reach] = history{}
			deepest = max(deepest, min(r.Reach, maxReach))
		}
	}
	if len(found) == 0 {
		return found
	}
	s, err := c.scrapes(ctx, deepest, at)
	for reach := range found {
		if found[reach] = (history{err: err}); err == nil {
			found[reach] = c.history(ctx, s, reach, at)
		}
	}
	return found
}

// compose builds the answer from its samples, or marks it as unusable.
func (r *Result) compose(rows []Row, k knowledge, h history) {
	if r.Err == nil {
		r.Err = h.err
	}
	if r.Err == nil {
		r.Answer.Samples, r.Err = samples(rows, k, h)
	}
	if r.Err != nil {
		r.Answer = policy.Answer{Unusable: true}
		r.Failed = !errors.Is(r.Err, ErrUnusable)
	}
}

// samples are the samples of an answer, with what is known of their containers. A
// sample may have a container's full id; measurements have the short one.
func samples(rows []Row, k knowledge, h history) ([]policy.Sample, error) {
	list := make([]policy.Sample, 0, len(rows))
	for _, row := range rows {
		id := string(row.Labels["id"])
		if id == "" {
			return nil, fmt.Errorf("%w: sample without label id", ErrUnusable)
		}
		short := container.ShortID(id)
		start := k.starts[short]
		info := k.infos[short]
		list = append(list, policy.Sample{
			ID: id, Value: row.Value, Start: start, WindowFilled: h.filled(short, start),
			LabelsKnown: info.labelsKnown, Measured: info.measured,
		})
	}
	return list, nil
}

// number queries exactly one finite number.
func (c *Client) number(ctx context.Context, query Expr, at time.Time) (*float64, error) {
	rows, err := c.Vector(ctx, query, at)
	if err != nil {
		return nil, fmt.Errorf("relief value: %w", err)
	}
	return numberOf(rows)
}

func numberOf(rows []Row) (*float64, error) {
	if len(rows) != 1 {
		return nil, fmt.Errorf("%w: relief value: expected 1 sample, found %d", ErrUnusable, len(rows))
	}
	if v := rows[0].Value; !math.IsNaN(v) && !math.IsInf(v, 0) {
		return &v, nil
	}
	return nil, fmt.Errorf("%w: relief value: not a finite number", ErrUnusable)
}

// Queries about containers.
const (
	startQuery    = `estiba_container_start_time_seconds`
	measuredQuery = `group by (id, container_id, name, image, kind, managed, runtime, pod_namespace, pod_container) (estiba_container_info)`
)

// knowledge is what Prometheus has of containers, by label id.
type knowledge struct {
	starts map[string]time.Time // start of the measured life
	infos  map[string]info
}

// info is what the exporter knows of a container.
type info struct {
	measured    policy.Measured
	labelsKnown bool // name, image and labels
}

// podPause is the label pod_container of a container that only holds its pod's
// namespaces.
const podPause = "POD"

// infoOf reads the labels of estiba_container_info. managed is empty while the exporter
// does not know a container's labels.
func infoOf(l model.Metric) info {
	m := policy.Measured{
		ID: string(l["container_id"]), Name: string(l["name"]), Image: string(l["image"]), Runtime: string(l["runtime"]),
		Kubernetes: l["pod_namespace"] != "" || l["pod_container"] == podPause,
	}
	m.Kind, _ = container.ParseKind(string(l["kind"]))
	return info{measured: m, labelsKnown: l["managed"] != ""}
}

func (c *Client) knowledge(ctx context.Context, at time.Time) (knowledge, error) {
	var k knowledge
	var infosErr, startsErr error
	var side sync.WaitGroup
	side.Go(func() {
		var rows []Row
		rows, startsErr = c.ask(ctx, startQuery, at)
		k.starts = startsOf(rows)
	})
	side.Go(func() {
		k.infos, infosErr = c.infos(ctx, at)
	})
	side.Wait()
	if startsErr != nil {
		return k, fmt.Errorf("start times: %w", startsErr)
	}
	if infosErr != nil {
		return k, fmt.Errorf("labels: %w", infosErr)
	}
	return k, nil
}

func (c *Client) infos(ctx context.Context, at time.Time) (map[string]info, error) {
	rows, err := c.ask(ctx, measuredQuery, at)
	k := knowledge{infos: make(map[string]info, len(rows))}
	for _, r := range rows {
		k.add(string(r.Labels["id"]), infoOf(r.Labels))
	}
	return k.infos, err
}

// Measured are the containers that Prometheus has, by label id.
func (c *Client) Measured(ctx context.Context, at time.Time) (map[string]policy.Measured, error) {
	infos, err := c.infos(ctx, at)
	measured := make(map[string]policy.Measured, len(infos))
	for id, i := range infos {
		measured[id] = i.measured
	}
	return measured, err
}

// add adds what is known of a container. With two series of one id it is ambiguous
// whether the labels that queries make exceptions by are its own.
func (k knowledge) add(id string, i info) {
	if before, twice := k.infos[id]; twice {
		i.labelsKnown = false
		i.measured.Kubernetes = i.measured.Kubernetes || before.measured.Kubernetes
	}
	k.infos[id] = i
}

// ask evaluates a query of the manager itself.
func (c *Client) ask(ctx context.Context, query string, at time.Time) ([]Row, error) {
	e, err := c.Parse(query)
	if err != nil {
		return nil, err
	}
	return c.Vector(ctx, e, at)
}

// startsOf leaves out containers with two samples: the measured life is ambiguous.
func startsOf(rows []Row) map[string]time.Time {
	starts := make(map[string]time.Time, len(rows))
	for _, r := range rows {
		id := string(r.Labels["id"])
		if _, twice := starts[id]; twice || math.IsNaN(r.Value) || math.IsInf(r.Value, 0) || r.Value <= 0 {
			starts[id] = time.Time{}
			continue
		}
		starts[id] = unix(r.Value)
	}
	return starts
}
