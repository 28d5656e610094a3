package kubernetes

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	operator "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// all are values with every switch of the chart.
var all = []string{
	"cri.enabled=true", "podMonitor.enabled=true", "podMonitor.labels.release=kube-prometheus-stack",
	"prometheusRule.enabled=true", "prometheusRule.labels.release=kube-prometheus-stack",
}

func same(t *testing.T, what string, kustomize, helm any) {
	t.Helper()
	if !equality.Semantic.DeepEqual(kustomize, helm) {
		t.Errorf("%s differ: Kustomize -, Helm +\n%s", what, diff.Diff(kustomize, helm))
	}
}

// TestSame compares what Kustomize and Helm make: the pod is the same one, and so is what
// is scraped and the rules.
func TestSame(t *testing.T) {
	for _, c := range []struct {
		folder string
		values []string
	}{{"base", nil}, {"overlays/kube-prometheus-stack", all}} {
		k, h := kustomized(t, c.folder), charted(t, c.values...)
		a, b := of[*apps.DaemonSet](t, k, "DaemonSet"), of[*apps.DaemonSet](t, h, "DaemonSet")
		same(t, c.folder+": DaemonSets", a.Spec, b.Spec)
		if a.Name != b.Name || a.Namespace != b.Namespace || a.Namespace != namespace {
			t.Errorf("%s: %s/%s and %s/%s", c.folder, a.Namespace, a.Name, b.Namespace, b.Name)
		}
		same(t, c.folder+": service accounts", of[*core.ServiceAccount](t, k, "ServiceAccount").AutomountServiceAccountToken,
			of[*core.ServiceAccount](t, h, "ServiceAccount").AutomountServiceAccountToken)
		if c.values == nil {
			continue
		}
		p, q := of[*operator.PodMonitor](t, k, "PodMonitor"), of[*operator.PodMonitor](t, h, "PodMonitor")
		same(t, "PodMonitors", p.Spec, q.Spec)
		r, s := of[*operator.PrometheusRule](t, k, "PrometheusRule"), of[*operator.PrometheusRule](t, h, "PrometheusRule")
		same(t, "PrometheusRules", r.Spec, s.Spec)
		for _, labels := range []map[string]string{p.Labels, q.Labels, r.Labels, s.Labels} {
			if labels["release"] != "kube-prometheus-stack" {
				t.Errorf("labels %v lack the release", labels)
			}
		}
	}
}

// TestSelected checks that selectors find the pod, and probes and monitor its port.
func TestSelected(t *testing.T) {
	for name, o := range map[string]objects{
		"kustomize": kustomized(t, "overlays/kube-prometheus-stack"),
		"helm":      charted(t, append(all, "podLabels.team=shop", "fullnameOverride=x")...),
	} {
		set, monitor := of[*apps.DaemonSet](t, o, "DaemonSet"), of[*operator.PodMonitor](t, o, "PodMonitor")
		labels := set.Spec.Template.Labels
		for _, selector := range []map[string]string{set.Spec.Selector.MatchLabels, monitor.Spec.Selector.MatchLabels} {
			if len(selector) == 0 {
				t.Errorf("%s: a selector of everything", name)
			}
			for k, v := range selector {
				if labels[k] != v {
					t.Errorf("%s: the pod's label %s is %q, selected is %q", name, k, labels[k], v)
				}
			}
		}
		c := set.Spec.Template.Spec.Containers[0]
		ports := []string{*monitor.Spec.PodMetricsEndpoints[0].Port, c.LivenessProbe.HTTPGet.Port.String(), c.ReadinessProbe.HTTPGet.Port.String()}
		for _, port := range ports {
			if len(c.Ports) != 1 || c.Ports[0].Name != port {
				t.Errorf("%s: port %s is not among %v", name, port, c.Ports)
			}
		}
		account := of[*core.ServiceAccount](t, o, "ServiceAccount")
		if set.Spec.Template.Spec.ServiceAccountName != account.Name {
			t.Errorf("%s: service account %q, want %q", name, set.Spec.Template.Spec.ServiceAccountName, account.Name)
		}
	}
}

// TestPodSecurity compares what the Pod Security Standards do not like about the pod with
// what docs/kubernetes.md says it needs: one more is a right that nobody asked for.
func TestPodSecurity(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for level, want := range map[api.Level][]string{
		api.LevelBaseline: {"AppArmor profile", "host namespaces", "hostPath volumes", "non-default capabilities"},
		api.LevelRestricted: {
			"AppArmor profile", "host namespaces", "restricted volume types", "runAsNonRoot != true", "runAsUser=0", "unrestricted capabilities",
		},
	} {
		for name, o := range map[string]objects{"base": kustomized(t, "base"), "chart": charted(t, all...)} {
			template := of[*apps.DaemonSet](t, o, "DaemonSet").Spec.Template
			var got []string
			for _, r := range evaluator.EvaluatePod(api.LevelVersion{Level: level, Version: api.LatestVersion()}, &template.ObjectMeta, &template.Spec) {
				if !r.Allowed {
					got = append(got, strings.TrimPrefix(r.ForbiddenReason, "forbidden "))
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s at level %s: %q, want %q", name, level, got, want)
			}
		}
	}
	space := of[*core.Namespace](t, kustomized(t, "base"), "Namespace")
	if space.Labels[api.EnforceLevelLabel] != string(api.LevelPrivileged) {
		t.Errorf("labels of the namespace: %v", space.Labels)
	}
}

// TestExample builds the kustomization of docs/kubernetes.md.
func TestExample(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/kubernetes.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	repository, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(repository, filepath.Join(dir, "estiba")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(example), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, tool(t, "kustomize"), "build", dir)
	if err != nil {
		t.Fatal(err)
	}
	c := of[*apps.DaemonSet](t, decode(t, out), "DaemonSet").Spec.Template.Spec.Containers[0]
	if c.Image != "registry.example.org/estiba/exporter:local" || !slices.Contains(c.Args, "--cri.endpoint=unix:///run/containerd/containerd.sock") {
		t.Errorf("image %s, arguments %q", c.Image, c.Args)
	}
}

// TestSwitches tries values that change the pod.
func TestSwitches(t *testing.T) {
	pod := func(values ...string) core.PodSpec {
		return of[*apps.DaemonSet](t, charted(t, values...), "DaemonSet").Spec.Template.Spec
	}
	p := pod("capabilities={BPF,PERFMON}", "extraCapabilities={SYSLOG}", "priorityClassName=system-node-critical", "hostLabel=false", "cri.enabled=true",
		"cri.socket=/run/crio/crio.sock", "extraArgs={--metrics.names=both}", "image.digest=sha256:"+strings.Repeat("0", 64), "serviceAccount.create=false")
	c := p.Containers[0]
	if want := []core.Capability{"BPF", "PERFMON", "SYSLOG"}; !slices.Equal(c.SecurityContext.Capabilities.Add, want) {
		t.Errorf("capabilities %v, want %v", c.SecurityContext.Capabilities.Add, want)
	}
	want := []string{
		"--path.procfs=/host/proc", "--path.cgroup=/host/sys/fs/cgroup", "--docker.host=none", "--podman.host=none",
		"--cri.endpoint=unix:///run/crio/crio.sock", "--metrics.names=both",
	}
	if !slices.Equal(c.Args, want) || len(c.Env) != 0 {
		t.Errorf("arguments %q, environment %v", c.Args, c.Env)
	}
	if p.PriorityClassName != "system-node-critical" || p.ServiceAccountName != "default" || !strings.HasPrefix(c.Image, "estiba/exporter@sha256:") {
		t.Errorf("class %q, account %q, image %q", p.PriorityClassName, p.ServiceAccountName, c.Image)
	}
	if last := p.Volumes[len(p.Volumes)-1]; last.HostPath == nil || last.HostPath.Path != "/run/crio" {
		t.Errorf("volume %+v", last)
	}

	p = pod("webConfig.secretName=web")
	c = p.Containers[0]
	for _, probe := range []*core.Probe{c.LivenessProbe, c.ReadinessProbe} {
		if probe.Exec == nil || !slices.Contains(probe.Exec.Command, "--web.config.file=/etc/estiba/web.yml") {
			t.Errorf("with TLS the probe is %+v", probe.ProbeHandler)
		}
	}
	if !slices.Contains(c.Args, "--web.config.file=/etc/estiba/web.yml") || p.Volumes[len(p.Volumes)-1].Secret == nil {
		t.Errorf("arguments %q", c.Args)
	}
}

// TestRefused tries values that would make something that does not work.
func TestRefused(t *testing.T) {
	for name, values := range map[string][]string{
		"a value that does not exist":      {"resource.limits.cpu=1"},
		"a capability with its prefix":     {"extraCapabilities={CAP_BPF}"},
		"a socket that is no path":         {"cri.socket=unix:///run/containerd/containerd.sock"},
		"an argument that is no flag":      {"extraArgs={dump}"},
		"a switch that is a word":          {"cri.enabled=maybe"},
		"an interval not of the rules":     {"podMonitor.enabled=true", "podMonitor.interval=15s", "prometheusRule.enabled=true"},
		"a digest that is none":            {"image.digest=latest"},
		"an update strategy of Deployment": {"updateStrategy.type=Recreate"},
	} {
		if _, err := template(t, values...); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// TestLint runs Helm's own checks.
func TestLint(t *testing.T) {
	out, err := run(t, tool(t, "helm"), "lint", "--strict", chart)
	if err != nil || strings.Contains(string(out), "WARNING") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestVersion compares the chart's versions with the repository's.
func TestVersion(t *testing.T) {
	version, err := os.ReadFile(filepath.Join(root, "VERSION"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(chart, "Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var is struct{ Version, AppVersion string }
	if err := yaml.Unmarshal(text, &is); err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimSpace(string(version)); is.Version != want || is.AppVersion != want {
		t.Errorf("the chart has version %s of %s, want %s", is.Version, is.AppVersion, want)
	}
}

// TestDocumented checks that docs/kubernetes.md has a row for each value and no other.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/kubernetes.md"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	_, table, _ := strings.Cut(string(page), "| value |")
	table, _, _ = strings.Cut(table, "\n\n")
	for line := range strings.Lines(table) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for _, m := range regexp.MustCompile("`([a-zA-Z.]+)`").FindAllStringSubmatch(cell, -1) {
			name := m[1]
			documented[strings.Split(name, ".")[0]] = true
			at := any(values)
			for key := range strings.SplitSeq(name, ".") {
				m, _ := at.(map[string]any)
				if at = m[key]; m == nil || !has(m, key) {
					t.Errorf("docs/kubernetes.md has %s, which is no value", name)
					break
				}
			}
		}
	}
	for name := range values {
		if !documented[name] {
			t.Errorf("docs/kubernetes.md lacks %s", name)
		}
	}
}

func has(m map[string]any, key string) bool { _, ok := m[key]; return ok }
