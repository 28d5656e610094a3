package promql

import (
	"context"
	"testing"
)

// Displayed values are numbers, or unknown: JSON has no other.
func TestUsageNotFinite(t *testing.T) {
	const cpu, memory = "__name__=estiba:container_cpu_usage:percent", "__name__=estiba:container_memory_usage:percent"
	p := client(t, &fakePrometheus{answers: map[string]string{"estiba:container_class": vector(
		sample("NaN", "id=a", cpu), sample("+Inf", "id=a", memory), sample("7", "id=b", cpu, "name=web"), sample("0", "id=b", memory))}}, "")
	usage, err := p.Usage(context.Background(), now)
	if err != nil {
		t.Fatal(err)
	}
	if a := usage["a"]; a.CPUPercent != nil || a.MemoryPercent != nil {
		t.Errorf("%+v", a)
	}
	if b := usage["b"]; b.Name != "web" || b.CPUPercent == nil || *b.CPUPercent != 7 || b.MemoryPercent == nil || *b.MemoryPercent != 0 {
		t.Errorf("%+v", b)
	}
	if l := parse(t, "a > Inf", "").Threshold(); l != nil {
		t.Errorf("a line at %v", l.Value)
	}
}

// The observed kind is that of a container that declares none, or another one.
func TestUsageObservedKind(t *testing.T) {
	p := client(t, &fakePrometheus{answers: map[string]string{"estiba:container_class": vector(
		sample("1", "id=a", "__name__=estiba:container_kind", "kind=io", "declared=false"),
		sample("1", "id=b", "__name__=estiba:container_kind_mismatch", "kind=cpu", "observed=disk"),
		sample("1", "id=c", "__name__=estiba:container_class", "class=low"))}}, "")
	usage, err := p.Usage(context.Background(), now)
	if err != nil {
		t.Fatal(err)
	}
	if usage["a"].Observed != "io" || usage["b"].Observed != "disk" || usage["c"].Observed != "" {
		t.Errorf("%+v", usage)
	}
}
