package runtimes

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

// Sample is one sample of the exporter.
type Sample struct {
	Metric  string
	Labels  map[string]string
	Value   float64
	Counter bool
}

// key is what Prometheus takes for the same series.
func (s Sample) key() string {
	var text strings.Builder
	text.WriteString(s.Metric)
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		fmt.Fprintf(&text, " %s=%q", name, s.Labels[name])
	}
	return text.String()
}

func scrape(address string) ([]Sample, error) {
	text, err := stack.Fetch("http://" + address + "/metrics")
	if err != nil {
		return nil, err
	}
	return Samples(text)
}

// Samples returns all samples of an exposition. It is an error if a series has two, because
// Prometheus then drops one of them.
func Samples(text []byte) ([]Sample, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
	if err != nil {
		return nil, err
	}
	var all []Sample
	seen := map[string]bool{}
	for name, f := range families {
		for _, m := range f.Metric {
			s := Sample{Metric: name, Labels: map[string]string{}}
			for _, l := range m.Label {
				s.Labels[l.GetName()] = l.GetValue()
			}
			switch f.GetType() {
			case dto.MetricType_COUNTER:
				s.Value, s.Counter = m.Counter.GetValue(), true
			case dto.MetricType_GAUGE:
				s.Value = m.Gauge.GetValue()
			default:
				s.Value = m.Untyped.GetValue()
			}
			if seen[s.key()] {
				return nil, fmt.Errorf("two samples of %s", s.key())
			}
			seen[s.key()] = true
			all = append(all, s)
		}
	}
	return all, nil
}

func must(t *testing.T, address string) []Sample {
	t.Helper()
	all, err := scrape(address)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// ValueOf returns the only sample of a metric with these labels.
func ValueOf(all []Sample, metric string, labels ...string) (float64, bool) {
	for _, s := range all {
		if s.Metric != metric {
			continue
		}
		same := true
		for i := 0; i < len(labels); i += 2 {
			same = same && s.Labels[labels[i]] == labels[i+1]
		}
		if same {
			return s.Value, true
		}
	}
	return 0, false
}

// label is the label id of a container.
func (c Container) label() string {
	id := c.ID
	if len(id) == 64 {
		id = id[:12]
	}
	if c.Impostor {
		return fmt.Sprintf("%s@%d", id, c.User)
	}
	return id
}

// named reports whether an API that the exporter follows has the container. ctr's
// containers have none.
func (c Container) named() bool { return c.Namespace != "default" && !c.Impostor }

// CheckMetrics checks what the exporter publishes about the containers: each has a row
// with its own values, its name and its pod, and no series exists twice.
func (w *World) CheckMetrics(t *testing.T, address string) {
	t.Helper()
	var wrong []string
	defer func() {
		for _, text := range wrong {
			t.Error(text)
		}
	}()
	testutil.Eventually(t, w.Patience, "the exporter has all containers", func() bool {
		all, err := scrape(address)
		if err != nil {
			wrong = []string{err.Error()}
			return false
		}
		wrong = w.wrongMetrics(all)
		return len(wrong) == 0
	})
}

func (w *World) wrongMetrics(all []Sample) (wrong []string) {
	containers := append(w.Containers(), w.Impostor)
	for _, runtime := range []string{"docker", "podman", "cri"} {
		if up, _ := ValueOf(all, "estiba_runtime_up", "runtime", runtime); up != 1 {
			wrong = append(wrong, fmt.Sprintf("estiba_runtime_up of %s is %g", runtime, up))
		}
	}
	for _, c := range containers {
		wrong = append(wrong, wrongInfo(all, c)...)
		if rss, ok := ValueOf(all, "estiba_container_memory_rss_bytes", "id", c.label()); !ok || rss < float64(c.Holds) {
			wrong = append(wrong, fmt.Sprintf("%s: estiba_container_memory_rss_bytes is %g (known: %t), it holds %d", c.Name, rss, ok, c.Holds))
		}
	}
	for metric, want := range map[string]float64{
		"estiba_containers":         float64(len(containers)),
		"estiba_containers_unnamed": 1, // the impostor: the user's Podman does not know it
		"estiba_containers_unseen":  1, // the one without a cgroup
		"estiba_scrape_success":     1,
	} {
		if got, ok := ValueOf(all, metric); !ok || got != want {
			wrong = append(wrong, fmt.Sprintf("%s is %g (known: %t), want %g", metric, got, ok, want))
		}
	}
	return wrong
}

func wrongInfo(all []Sample, c Container) (wrong []string) {
	name := c.Name
	if !c.named() {
		name = ""
	}
	for _, s := range all {
		if s.Metric != "estiba_container_info" || s.Labels["id"] != c.label() {
			continue
		}
		want := map[string]string{
			"container_id": c.ID, "name": name, "runtime": c.Runtime, "namespace": c.Namespace,
			"pod": c.PodName, "pod_namespace": c.PodNamespace, "pod_container": c.PodContainer,
		}
		for label, v := range want {
			if s.Labels[label] != v {
				wrong = append(wrong, fmt.Sprintf("%s: label %s is %q, want %q", c.Name, label, s.Labels[label], v))
			}
		}
		return wrong
	}
	return []string{fmt.Sprintf("%s: no estiba_container_info with id %q", c.Name, c.label())}
}

// Watch scrapes the exporter until stop is called, and fails the test if a counter of a
// container's life, or of the host, decreases.
func Watch(t *testing.T, address string) (stop func()) {
	t.Helper()
	last := map[string]float64{}
	fell := map[string]string{}
	scrapes := 0
	var failure error
	var group sync.WaitGroup
	end := make(chan struct{})
	group.Go(func() {
		for {
			all, err := scrape(address)
			if err != nil {
				failure = err
			}
			scrapes++
			for _, s := range all {
				if !s.Counter {
					continue
				}
				start, _ := ValueOf(all, "estiba_container_start_time_seconds", "id", s.Labels["id"])
				k := fmt.Sprintf("%s of the life since %f", s.key(), start)
				if s.Value < last[k] {
					fell[k] = fmt.Sprintf("from %g to %g", last[k], s.Value)
				}
				last[k] = s.Value
			}
			select {
			case <-end:
				return
			case <-time.After(300 * time.Millisecond):
			}
		}
	})
	return sync.OnceFunc(func() {
		close(end)
		group.Wait()
		t.Logf("%d scrapes, %d counters", scrapes, len(last))
		if failure != nil {
			t.Errorf("scraping: %v", failure)
		}
		for k, how := range fell {
			t.Errorf("%s fell %s", k, how)
		}
	})
}

// CheckEnds restarts and removes containers of every runtime while the exporter is
// watched. What is gone leaves the metrics within seconds, and what takes its place has a
// row of its own.
func (w *World) CheckEnds(t *testing.T, address string) {
	t.Helper()
	stop := Watch(t, address)
	defer stop()
	start := func(c Container) float64 {
		v, _ := ValueOf(must(t, address), "estiba_container_start_time_seconds", "id", c.label())
		return v
	}
	old := start(w.PodmanAlone)
	w.PodmanAlone = w.Podman.Restart(t, w.PodmanAlone)
	testutil.Eventually(t, w.Patience, "Podman's container has a new life with the same id", func() bool { return start(w.PodmanAlone) > old })

	before := append([]Container{}, w.Cart.Containers...)
	w.Containerd.RestartPod(t, w.Cart)
	areGone(t, address, before...)
	w.CheckMetrics(t, address)

	// Each removal is noticed on its own.
	w.RemoveDocker(t, w.Docker[1])
	areGone(t, address, w.Docker[1])
	w.Docker = w.Docker[:1]
	w.Podman.RemovePod(t, podmanPod)
	areGone(t, address, w.PodmanPod...)
	w.PodmanPod = nil
	w.Containerd.StopContainer(t, w.Till.Containers[2])
	areGone(t, address, w.Till.Containers[2])
	w.Till.Containers = w.Till.Containers[:2]
	w.CheckMetrics(t, address)
	w.Containerd.StopPod(t, w.Till)
	areGone(t, address, w.Till.Containers...)
	w.Till.Containers = nil
	for _, c := range w.Users {
		w.Rootless.Remove(t, c)
	}
	areGone(t, address, w.Users...)
	for _, c := range w.Ctr {
		w.Containerd.Remove(t, c)
	}
	areGone(t, address, w.Ctr...)
	w.Users, w.Ctr = nil, nil
	w.CheckMetrics(t, address)
}

func areGone(t *testing.T, address string, containers ...Container) {
	t.Helper()
	began := time.Now()
	testutil.Eventually(t, 10*time.Second, "the metrics of "+containers[0].Name+" are gone", func() bool {
		all := must(t, address)
		for _, c := range containers {
			if _, there := ValueOf(all, "estiba_container_processes", "id", c.label()); there {
				return false
			}
		}
		return true
	})
	t.Logf("%s and %d others gone after %s", containers[0].Name, len(containers)-1, time.Since(began).Round(time.Millisecond))
}
