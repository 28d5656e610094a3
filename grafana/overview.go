package grafana

// Words and colours that are the same on every dashboard.
var (
	classWords    = []wordFor{{"high", "high", "orange"}, {"low", "low", "green"}}
	decisionWords = []wordFor{{"kill", "kill", "red"}, {"spare", "spare", "green"}}
	kindWords     = []wordFor{{"cpu", "cpu", "blue"}, {"ram", "ram", "purple"}, {"io", "io", "yellow"}, {"disk", "disk", "orange"}}
	never         = []wordFor{{"0", "–", ""}} // next to the text of orRow
	severityWords = []wordFor{{"1", "critical", "red"}, {"2", "warning", "orange"}, {"3", "info", "blue"}}
	yesOrDash     = []wordFor{{"true", "yes", "text"}, {"false", "–", ""}}
)

// Colours of steps that are the same everywhere.
var (
	shareSteps = []Step{base("green"), from(0.8, "orange"), from(0.9, "red")}
	ageSteps   = []Step{base("text"), from(30, "orange"), from(60, "red")}
)

// classText is what makes a class, in the descriptions of panels.
const classText = "at most 0.09 % of a core and at most 0.16 % of the host's memory"

// overview shows the running containers of the selected hosts, their usage, firing alerts.
func overview() Dashboard {
	const info = `estiba_container_info{` + sel + `}`
	return killed(dashboard("overview", "Overview", "Containers of the selected hosts: usage, class, kind, and the last decision of the manager.",
		append(standard("estiba_containers{%s}"), statusPage()),
		append([]Panel{
			// High, Low and Too young are parts of Containers.
			atOnce(known(count(box(3, 4), "Containers", "Running containers, on hosts whose exporter can read its source: the sum of High, Low and Too young.", counted(info)))),
			atOnce(known(count(box(2, 4), "High", "Containers of class high: everything that is not low.", counted(recorded("estiba:container_class", `class="high", `))))),
			atOnce(known(count(box(2, 4), "Low", "Containers of class low: "+classText+".", counted(recorded("estiba:container_class", `class="low", `))))),
			atOnce(known(count(box(3, 4), "Too young", "Containers without a class yet, in their first 30 s.",
				counted(info+` unless on (host, id) estiba:container_class{`+here+`}`)))),
			count(box(4, 4), "Kills (1 h)", "Containers killed by the manager in the last hour.",
				`round(sum(increase(estiba_manager_kills_total{mode="live", outcome="done", `+here+`}[1h]))) or vector(0)`),
			hostCPU(box(3, 4)),
			hostMemory(box(3, 4)),
			firing(box(2, 4), "Critical", "critical", "red"),
			firing(box(2, 4), "Warning", "warning", "orange"),

			marked(ofContainers(listed(graph(box(12, 9), "CPU", "Percent of one core, over 30 s. The ten containers that used most in the time range. Marks are kills by the manager.", "percent",
				"{{name}}", top(10, "estiba:container_cpu_usage:percent")), 320))),
			marked(ofContainers(listed(graph(box(12, 9), "Memory", "Working set: memory of the cgroup minus inactive file cache; resident memory where that is unknown. The ten containers that used most in the time range. Marks are kills by the manager.", "bytes",
				"{{name}}", busiest(10, working("", ""), working("sum_over_time", "[$__range] @ end()"))), 320))),
			runningContainers(),
			firingAlerts(box(24, 8), ""),
		}, details()...)), ticks())
}

// details are the rows of the dashboard.
func details() []Panel {
	pressure := func(resource string) string {
		return topRate(6, "estiba_container_pressure_waiting_seconds_total", `resource="`+resource+`", `)
	}
	sum := func(metric string) string { return "sum(rate(" + metric + "{" + sel + "}[$__rate_interval]))" }
	const noPressure = "no pressure is known"
	panels := []Panel{section("The whole host")}
	panels = append(panels, wholes()...)
	panels = append(panels, section("Storage and network"),
		ofContainers(graph(box(8, 8), "Disk", "Bytes per second read from and written to storage, over 30 s. The six most active containers in the time range.", "binBps",
			"{{name}}", top(6, "estiba:container_disk_io:bytes_rate30s"))),
		ofContainers(graph(box(8, 8), "I/O calls", "Read and write system calls per second, over 30 s. The six most active containers in the time range.", "ops",
			"{{name}}", top(6, "estiba:container_io_activity:rate30s"))),
		ofContainers(graph(box(8, 8), "Network", "Bytes per second received and sent, over 30 s. The six most active containers in the time range.", "binBps",
			"{{name}}", top(6, "estiba:container_network:bytes_rate30s"))),
		ofContainers(graph(box(12, 8), "Asked for and from storage", "All containers. Asked for: bytes of read and write calls, to files, pipes and sockets. Storage: what reached the disks. Reads far apart: the page cache works; writes far apart: not yet written.", "binBps",
			"read, asked for", sum("estiba_container_io_read_bytes_total"),
			"read, storage", sum("estiba_container_disk_read_bytes_total"),
			"written, asked for", sum("estiba_container_io_written_bytes_total"),
			"written, storage", sum("estiba_container_disk_written_bytes_total"))),
		layers(),

		fold("Pressure and throttling"),
		ofPressure(graph(box(8, 8), "CPU pressure", "Share of time in which a task of the container waited for a CPU (PSI). The six that waited longest in the time range.", "percentunit",
			"{{name}}", pressure("cpu")), noPressure),
		ofPressure(graph(box(8, 8), "Memory pressure", "Share of time in which a task of the container waited for memory (PSI): reclaim, swap, refault. The six that waited longest in the time range.", "percentunit",
			"{{name}}", pressure("memory")), noPressure),
		ofPressure(graph(box(8, 8), "I/O pressure", "Share of time in which a task of the container waited for storage (PSI). The six that waited longest in the time range.", "percentunit",
			"{{name}}", pressure("io")), noPressure),
		ofPressure(graph(box(12, 8), "Throttled", "Time in which a CPU limit stopped tasks, per second and summed over cores. The ten containers that lost most in the time range.", "percentunit",
			"{{name}}", topRate(10, "estiba_container_cpu_throttled_seconds_total", "")+" > 0"), "nothing throttled"),
		ofPressure(graph(box(12, 8), "Throttled periods", "Share of the periods of the CPU limit in which the container used it up. The ten that were throttled most often in the time range.", "percentunit",
			"{{name}}", busiest(10,
				"rate(estiba_container_cpu_throttled_periods_total{"+sel+"}[$__rate_interval]) / (rate(estiba_container_cpu_periods_total{"+sel+"}[$__rate_interval]) > 0)",
				"increase(estiba_container_cpu_throttled_periods_total{"+sel+"}[$__range] @ end())")), "no CPU limits"),

		fold("Restarts, exits and health"), troubled(),
		fold("Projects and pods"))
	panels = append(panels, shared("By compose project", "compose project", `label_replace(estiba_container_info{`+sel+`}, "part", "$1", "compose_project", "(.*)")`)...)
	panels = append(panels, shared("By pod", "Kubernetes or Podman pod, with its namespace", `label_replace(label_join(estiba_container_info{`+sel+`}, "part", "/", "pod_namespace", "pod"), "part", "$1", "part", "/(.*)")`)...)
	return append(panels,
		fold("Classes, kinds and labels"),
		ofContainers(kinds(stacked(graph(box(12, 8), "Containers by kind", "Running containers by kind: declared, else observed. Idle containers without a declared kind are not counted.", "none",
			"{{kind}}", `count by (kind) `+recorded("estiba:container_kind", ""))))),
		ofContainers(painted(painted(stacked(graph(box(12, 8), "Containers by class", "Running containers by class. The class is unknown for the first 30 s.", "none",
			"{{class}}", `count by (class) `+recorded("estiba:container_class", ""))), "high", "orange"), "low", "green")),
		labelled())
}

func ofPressure(p Panel, shown string) Panel {
	return empty(p, shown, "not every host or container has it")
}

// hostCPU and hostMemory are shares of the selected hosts.
func hostCPU(size GridPos) Panel {
	return known(stat(size, "Host CPU", "CPU time that is not idle, as a share of all cores.", "percentunit",
		`1 - sum(rate(estiba_host_cpu_seconds_total{mode=~"idle|iowait", `+sel+`}[$__rate_interval])) / sum(estiba_host_cpus{`+sel+`})`,
		base("green"), from(0.8, "orange"), from(0.95, "red")))
}

func hostMemory(size GridPos) Panel {
	return known(stat(size, "Host memory", "Share of memory that is not available to new processes.", "percentunit",
		`1 - sum(estiba_host_memory_available_bytes{`+sel+`}) / sum(estiba_host_memory_total_bytes{`+sel+`})`,
		base("green"), from(0.85, "orange"), from(0.95, "red")))
}

// firing counts the alerts of a severity.
func firing(size GridPos, title, severity, color string) Panel {
	return stat(size, title, "Firing alerts of severity "+severity+".", "none",
		`count(ALERTS{alertstate="firing", severity="`+severity+`", `+here+`}) or vector(0)`, base("green"), from(1, color))
}

// wholes add up containers and what is left to the host.
func wholes() []Panel {
	plain := func(p Panel, name string) Panel {
		p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, Override{
			Matcher: Matcher{ID: "byName", Options: name},
			Properties: []Property{
				{ID: "custom.stacking", Value: map[string]any{"mode": "none", "group": "A"}},
				{ID: "custom.fillOpacity", Value: 0},
			},
		})
		return p
	}
	sum := func(metric string) string { return "sum(rate(" + metric + "[$__rate_interval]))" }
	cpu := stacked(graph(box(12, 8), "Host CPU by use", "Percent of one core. Containers and the other processes are stacked; together they are what the host was busy with. Containers that exit between two scrapes are only in the line host. Dashed: all cores.", "percentunit",
		"containers", sum("estiba_container_cpu_seconds_total{"+sel+"}"),
		"other processes", sum("estiba_unattributed_cpu_seconds_total{"+sel+"}"),
		"host", sum(`estiba_host_cpu_seconds_total{mode!~"idle|iowait|steal", `+sel+`}`),
		"all cores", "sum(estiba_host_cpus{"+sel+"})"))
	cpu = painted(painted(painted(cpu, "containers", "blue"), "other processes", "purple"), "host", "text")
	cpu.Targets[0].MayBeEmpty = NoContainer
	rss := "(sum(estiba_container_memory_rss_bytes{" + sel + "}) or vector(0))"
	rest := "sum(estiba_unattributed_memory_rss_bytes{" + sel + "})"
	memory := stacked(graph(box(12, 8), "Host memory by use", "Resident memory of containers and of other processes (pages shared by processes count twice), cache and kernel (the rest of what is not free), free memory. Dashed: total. A limit counts the working set: see Memory.", "bytes",
		"containers", rss,
		"other processes", rest,
		"cache and kernel", "clamp_min(sum(estiba_host_memory_used_bytes{"+sel+"}) - "+rss+" - "+rest+", 0)",
		"free", "sum(estiba_host_memory_free_bytes{"+sel+"})",
		"total", "sum(estiba_host_memory_total_bytes{"+sel+"})"))
	for _, c := range [][2]string{{"containers", "blue"}, {"other processes", "purple"}, {"cache and kernel", "yellow"}, {"free", "green"}} {
		memory = painted(memory, c[0], c[1])
	}
	return []Panel{
		empty(dashed(plain(plain(cpu, "host"), "all cores"), "all cores"), "unknown", "no exporter may be scraped"),
		empty(dashed(plain(memory, "total"), "total"), "unknown", "no exporter may be scraped"),
	}
}

// layers is what fills the disk.
func layers() Panel {
	p := table(box(12, 8), "Writable layers", "Size of the writable layer of containers, as last measured by Docker: what they wrote outside of volumes. The 20 largest.", "id", nil, []column{
		{title: "Container", label: "name", links: to("container", "id", "ID")},
		{title: "Host", label: "host", width: 120},
		{title: "ID", label: "id", width: 118},
		{title: "Size", unit: "bytes", bar: "blue", expr: orRow(`topk(20, `+named(`max by (host, id, name) (estiba_container_disk_usage_bytes{`+sel+`})`)+`)`, "id", "name", "not measured")},
	})
	return may(sorted(p, "Size"), "the exporter measures layers only with --disk-usage-interval")
}

// may marks a table that may have only the row that says so.
func may(p Panel, why string) Panel {
	p.MayBeEmpty = why
	return p
}

// troubled lists containers that do not run or do not run well.
func troubled() Panel {
	key := func(expr string) string { return keyed(expr, "id") }
	state := func(more string) string { return "estiba_container_state{" + more + sel + "}" }
	value := func(expr string) string { return "max by (key) (" + key(expr) + ")" }
	restarts := "(increase(estiba_container_restarts_total{" + sel + "}[$__range]) > 0.5)"
	rows := named("group by (host, id, name, state) (" + state(`state!="running", `) +
		" or " + state("") + " and on (host, id) " + restarts +
		" or " + state("") + ` and on (host, id) estiba_container_health{status="unhealthy", ` + sel + "}" +
		" or " + state("") + " and on (host, id) (increase(estiba_container_oom_events_total{" + sel + "}[$__range]) > 0.5))")
	p := table(box(24, 9), "In trouble", "Containers that do not run, that restarted or were out of memory in the time range, or whose health check fails. At most 100. Exit code: 128 plus the signal after a kill by signal, so 137 after SIGKILL.", "key",
		[]string{
			key(orRow("topk(100, "+rows+")", "id", "name", "all containers run")),
			"group by (key, status) (" + key("estiba_container_health{"+sel+"}") + ")",
		}, []column{
			{title: "Name", label: "name", width: 220, links: to("container", "id", "ID")},
			{title: "Host", label: "host", width: 140},
			{title: "ID", label: "id", width: 118},
			{title: "State", label: "state", width: 110, words: stateWords},
			{title: "Exit code", expr: value("estiba_container_exit_code{" + sel + "}"), unit: "none", width: 110, steps: []Step{base("green"), from(1, "red")}},
			{title: "Restarts", expr: "round(" + value(restarts) + ")", unit: "none", bar: "orange", width: 160},
			{title: "Health", label: "status", width: 110, words: []wordFor{{"healthy", "healthy", "green"}, {"unhealthy", "unhealthy", "red"}, {"starting", "starting", "text"}}},
			{title: "Out of memory", expr: "round(" + value("increase(estiba_container_oom_events_total{"+sel+"}[$__range])") + ")", unit: "none", width: 160, steps: []Step{base("text"), from(1, "red")}},
		})
	p = may(sorted(p, "Restarts"), "all containers may be well")
	return p
}

// shared adds up usage by the label part of the containers in parts.
func shared(title, what, parts string) []Panel {
	by := func(usage string) string {
		// Containers without that label are not a part.
		return "topk(10, sum by (part) (" + usage + " * on (host, job, instance, id) group_left (part) " + parts + ") unless on (part) label_replace(vector(1), \"part\", \"\", \"part\", \"\"))"
	}
	cpu := graph(box(12, 8), title+": CPU", "Percent of one core by "+what+". The ten that use most at each time.", "percentunit",
		"{{part}}", by("rate(estiba_container_cpu_seconds_total{"+sel+"}[$__rate_interval])"))
	memory := graph(box(12, 8), title+": memory", "Working set by "+what+", resident memory where that is unknown. The ten that use most at each time.", "bytes",
		"{{part}}", by("("+working("", "")+")"))
	none := func(p Panel) Panel { return empty(stacked(p), "none", "no container may have these labels") }
	return []Panel{none(cpu), none(memory)}
}

// stateWords colours what does not run.
var stateWords = []wordFor{
	{"running", "running", "green"},
	{"created", "created", "text"},
	{"paused", "paused", "orange"},
	{"restarting", "restarting", "orange"},
	{"removing", "removing", "text"},
	{"exited", "exited", "red"},
	{"dead", "dead", "red"},
}

// rowLabels adds labels to the rows of a table of containers, joined by key.
func rowLabels(which, selector string) string {
	return "group by (key, " + which + ") (" + keyed(selector, "id") + ")"
}

// rowValue is a value for the rows of a table of containers.
func rowValue(selector string) string { return "max by (key) (" + keyed(selector, "id") + ")" }

// allContainers returns the rows of a table of containers, with labels of the info metric.
func allContainers(labels string) string {
	return keyed(orRow(named(`group by (host, id, name`+labels+`) (estiba_container_info{`+sel+`})`)+
		` or on () label_replace(label_replace(0 * group(`+seen+`), "name", "no running containers", "", ""), "id", "`+dash+`", "", "")`,
		"id", "name", "unknown"), "id")
}

// runningContainers is the table of containers. It fits into 1,500 pixels.
func runningContainers() Panel {
	const limit = "estiba_container_memory_limit_bytes{" + sel + "}"
	p := table(box(24, 12), "Running containers",
		"Class: low is "+classText+". Decision and Reason: last tick of the manager. Memory: working set, which counts for the limit. A name leads to the container, a reason to the manager.",
		"key",
		[]string{
			allContainers(""),
			rowLabels("kind", "estiba:container_kind{"+here+"}"),
			rowLabels("class", "estiba:container_class{"+here+"}"),
			rowLabels("decision, reason", "estiba_manager_container_decision{"+here+"}"),
		},
		[]column{
			{title: "Name", label: "name", width: 190, links: to("container", "id", "ID")},
			{title: "Host", label: "host", width: 110, links: to("overview", "host", "Host")},
			{title: "ID", label: "id", width: 118},
			{title: "Class", label: "class", words: classWords, width: 62},
			{title: "Kind", label: "kind", words: kindWords, width: 62},
			{title: "Decision", label: "decision", words: decisionWords, width: 82},
			{title: "Reason", label: "reason", width: 125, links: []DataLink{{Title: "Status page", URL: "${manager:raw}/?q=${__data.fields.ID}"}}},
			{title: "CPU", expr: rowValue("estiba:container_cpu_usage:percent{" + here + "}"), unit: "percent", decimals: 2, bar: "blue"},
			{title: "Memory", expr: rowValue("(" + working("", "") + ")"), unit: "bytes", bar: "purple"},
			{title: "Limit", expr: rowValue(limit), unit: "bytes", width: 85},
			{title: "Of limit", expr: rowValue("estiba_container_memory_working_set_bytes{" + sel + "} / (" + limit + " > 0)"), unit: "percentunit", decimals: 1, width: 110, bar: "green", full: 1, steps: shareSteps},
			{title: "Disk", expr: rowValue("estiba:container_disk_io:bytes_rate30s{" + here + "}"), unit: "binBps", width: 90},
			{title: "I/O", expr: rowValue("estiba:container_io_activity:rate30s{" + here + "}"), unit: "ops", decimals: 1, width: 90},
			{title: "Age", expr: "time() - " + rowValue("estiba_container_start_time_seconds{"+sel+"}"), unit: "s", width: 90},
		})
	p = may(sorted(p, "CPU"), NoContainer)
	p.Targets[3].MayBeEmpty = "the last tick may not have decided"
	p.Targets[6].MayBeEmpty = "no container may have a limit"
	p.Targets[7].MayBeEmpty = "no container may have a limit"
	return p
}

// labelled is the table of what containers are.
func labelled() Panel {
	p := table(box(24, 10), "Labels", "What the runtime knows of the containers. Kind: declared, else observed; Behaves as shows an observed kind that differs.", "key",
		[]string{
			allContainers(", image, managed, protected, namespace, compose_project, compose_service"),
			rowLabels("kind", "estiba:container_kind{"+here+"}"),
			rowLabels("observed", "estiba:container_kind_mismatch{"+here+"}"),
		},
		[]column{
			{title: "Name", label: "name", width: 220, links: to("container", "id", "ID")},
			{title: "Host", label: "host", width: 140},
			{title: "ID", label: "id", width: 118},
			{title: "Image", label: "image"},
			{title: "Project", label: "compose_project", width: 140},
			{title: "Service", label: "compose_service", width: 140},
			{title: "Namespace", label: "namespace", width: 110},
			{title: "Kind", label: "kind", words: kindWords, width: 70},
			{title: "Behaves as", label: "observed", words: kindWords, width: 100},
			{title: "Managed", label: "managed", words: yesOrDash, width: 90},
			{title: "Protected", label: "protected", words: yesOrDash, width: 95},
		})
	p = may(p, NoContainer)
	p.Targets[1].MayBeEmpty = "all may be idle and declare no kind"
	p.Targets[2].MayBeEmpty = "containers may all behave as declared"
	return p
}

// runbook leads to the runbook of the alert in the row; the manager has the pages.
var runbook = []DataLink{{Title: "Runbook", URL: "${manager:raw}/runbooks/${__data.fields.Alert}"}}

// firingAlerts is the table of alerts, the most severe first. of is additional matchers.
func firingAlerts(size GridPos, of string) Panel {
	p := table(size, "Firing alerts", "Alerts sent to Alertmanager, the most severe first. Active for: time since the condition became true, which is before the alert fires. An alert leads to its runbook, a container to its dashboard.",
		"alertname", nil,
		[]column{
			{title: "Alert", label: "alertname", width: 290, links: runbook},
			{title: "Severity", label: "rank", width: 100, words: severityWords},
			{title: "Subject", label: "subject", width: 100},
			{title: "Host", label: "host", width: 120, links: to("overview", "host", "Host")},
			{title: "Container", label: "name", width: 200, links: to("container", "id", "ID")},
			{title: "ID", label: "id", width: 118},
			{title: "Kind", label: "kind", width: 70},
			{title: "Rule", label: "rule", width: 130},
			{
				title: "Active for", unit: "s", words: never,
				expr: orRow(ranked(`time() - max by (host, alertname, severity, subject, id, name, kind, rule) (ALERTS_FOR_STATE{`+of+here+`} and ignoring (alertstate) ALERTS{alertstate="firing", alertname!="EstibaWatchdog", `+of+here+`})`),
					"alertname", "alertname", "no firing alerts"),
			},
		})
	return may(sortedBy(p, "Severity", false), "no alert may fire")
}

// ranked adds the label rank, which sorts alerts by severity. An unknown severity is its
// own rank and sorts last.
func ranked(expr string) string {
	expr = `label_replace(` + expr + `, "rank", "$1", "severity", "(.*)")`
	for _, r := range [][2]string{{"1", "critical"}, {"2", "warning"}, {"3", "info"}} {
		expr = `label_replace(` + expr + `, "rank", "` + r[0] + `", "severity", "` + r[1] + `")`
	}
	return expr
}
