package grafana

// Colours of what has the same meaning on every dashboard.
var (
	classWords    = []wordFor{{"high", "high", "orange"}, {"low", "low", "green"}}
	decisionWords = []wordFor{{"kill", "kill", "red"}, {"spare", "spare", "green"}}
	kindWords     = []wordFor{{"cpu", "cpu", "blue"}, {"ram", "ram", "purple"}, {"io", "io", "yellow"}, {"disk", "disk", "orange"}}
	never         = []wordFor{{"0", "–", ""}} // beside the words of orRow
	yesOrDash     = []wordFor{{"true", "yes", "text"}, {"false", "–", ""}}
)

// overview is the home: what runs, what it uses, what happened.
func overview() Dashboard {
	top := func(n int, metric string) string {
		return hosted(named("max by (host, id, name) ("+busiest(n, metric)+")"), "name")
	}
	// What else is known of the containers, by the key of their rows.
	labels := func(which, metric string) string {
		return "group by (key, " + which + ") (" + keyed(metric+"{"+here+"}", "id") + ")"
	}
	value := func(metric string) string { return "max by (key) (" + keyed(metric+"{"+here+"}", "id") + ")" }
	containers := table(at(0, 13, 24, 12), "Containers now",
		"Every running container with its class (low: at most 0.09 % of a core and 0.16 % of the host's memory), its kind (declared, else observed) and its use. A kind that its behaviour contradicts has the observed one beside it. Decision and reason are the manager's at its last tick. Memory % is of the host's memory.",
		"key",
		[]string{
			keyed(orRow(named(`group by (host, id, name, image, managed, protected) (estiba_container_info{`+here+`})`)+
				` or on () label_replace(label_replace(0 * group(`+seen+`), "name", "no container runs", "", ""), "id", "`+dash+`", "", "")`,
				"id", "name", "not known"), "id"),
			labels("kind", "estiba:container_kind"),
			labels("observed", "estiba:container_kind_mismatch"),
			labels("class", "estiba:container_class"),
			labels("decision, reason", "estiba_manager_container_decision"),
		},
		[]column{
			{title: "Name", label: "name", width: 170}, {title: "Host", label: "host", width: 120}, {title: "Id", label: "id", width: 118}, {title: "Image", label: "image", width: 115},
			{title: "Class", label: "class", words: classWords, width: 62}, {title: "Kind", label: "kind", words: kindWords, width: 62},
			{title: "Behaves as", label: "observed", words: kindWords, width: 92},
			{title: "Decision", label: "decision", words: decisionWords, width: 82}, {title: "Reason", label: "reason", width: 110},
			{title: "Managed", label: "managed", words: yesOrDash, width: 85}, {title: "Protected", label: "protected", words: yesOrDash, width: 88},
			{title: "CPU", expr: value("estiba:container_cpu_usage:percent"), unit: "percent", decimals: 2, width: 75},
			{title: "Memory", expr: value("estiba_container_memory_rss_bytes"), unit: "bytes", width: 88},
			{title: "Memory %", expr: value("estiba:container_memory_usage:percent"), unit: "percent", decimals: 2, width: 92},
			{title: "Disk", expr: value("estiba:container_disk_io:bytes_rate30s"), unit: "binBps", width: 95},
			{title: "I/O", expr: value("estiba:container_io_activity:rate30s"), unit: "ops", decimals: 1, width: 100},
			{title: "Network", expr: value("estiba:container_network:bytes_rate30s"), unit: "binBps", width: 90},
			{title: "Age", expr: "time() - " + value("estiba_container_start_time_seconds"), unit: "s"},
		})
	containers = sorted(containers, "CPU")
	containers.MayBeEmpty = NoContainer
	containers.Targets[2].MayBeEmpty = "no container may contradict its declared kind"
	containers.Targets[4].MayBeEmpty = "the last tick may not have decided"
	containers.FieldConfig.Overrides = append(containers.FieldConfig.Overrides, linked("Name", "this container",
		"/d/estiba-container/estiba-container?var-id=${__data.fields.Id}&${__url_time_range}"))
	alerts := table(at(0, 41, 24, 8), "Alerts that fire", "What Alertmanager has been told, the most severe first. Active: since its condition came true, which has to last before it fires. Each has a runbook in docs/runbooks.",
		"alertname", nil,
		[]column{{title: "Alert", label: "alertname", width: 290}, {title: "Severity", label: "rank", words: []wordFor{{"1", "critical", "red"}, {"2", "warning", "orange"}, {"3", "info", "blue"}}}, {title: "About", label: "subject"},
			{title: "Host", label: "host", width: 120}, {title: "Container", label: "name"}, {title: "Kind", label: "kind"}, {title: "Rule", label: "rule"},
			{title: "Active for", unit: "s", words: never,
				expr: orRow(ranked(`time() - max by (host, alertname, severity, subject, name, kind, rule) (ALERTS_FOR_STATE{`+here+`} and ignoring (alertstate) ALERTS{alertstate="firing", alertname!="EstibaWatchdog", `+here+`})`),
					"alertname", "alertname", "nothing fires")}})
	alerts = sortedBy(alerts, "Severity", false)
	alerts.MayBeEmpty = "nothing may fire"

	return dashboard("overview", "Overview", "Every container of every host: what it uses, what it is, what became of it.", nil, []Panel{
		known(count(at(0, 0, 3, 4), "Containers", "Containers that run, of the hosts whose exporter can tell.", `sum(`+seen+`)`)),
		known(count(at(3, 0, 3, 4), "High", "Containers of class high: more than 0.09 % of a core or 0.16 % of the host's memory. The class is known after 30 s.",
			counted(`estiba:container_class{class="high", `+here+`}`))),
		known(count(at(6, 0, 3, 4), "Low", "Containers of class low: at most 0.09 % of a core and 0.16 % of the host's memory. The class is known after 30 s.",
			counted(`estiba:container_class{class="low", `+here+`}`))),
		known(count(at(9, 0, 3, 4), "Managed", "Containers labelled estiba.managed=true: with the shipped policies the only ones that the manager may remove.",
			counted(`estiba_container_info{managed="true", `+here+`}`))),
		count(at(12, 0, 3, 4), "Removed in 1 h", "Containers that the manager removed in the last hour.",
			`round(sum(increase(estiba_manager_kills_total{mode="live", outcome="done", `+here+`}[1h]))) or vector(0)`),
		known(stat(at(15, 0, 3, 4), "Host CPU", "Share of all cores that is not idle.", "percentunit",
			`1 - sum(rate(estiba_host_cpu_seconds_total{mode=~"idle|iowait", `+here+`}[$__rate_interval])) / sum(estiba_host_cpus{`+here+`})`,
			base("green"), from(0.8, "orange"), from(0.95, "red"))),
		known(stat(at(18, 0, 3, 4), "Host memory", "Share of memory that is not available to a new program.", "percentunit",
			`1 - sum(estiba_host_memory_available_bytes{`+here+`}) / sum(estiba_host_memory_total_bytes{`+here+`})`,
			base("green"), from(0.85, "orange"), from(0.95, "red"))),
		stat(at(21, 0, 3, 4), "Alerts", "Alerts that fire and are not mere information.", "none",
			`count(ALERTS{alertstate="firing", severity=~"warning|critical", `+here+`}) or vector(0)`,
			base("green"), from(1, "red")),

		ofContainers(listed(graph(at(0, 4, 12, 9), "CPU", "Percent of one core, over 30 s, of the ten that used most of it in the time shown. Marks are removals by the manager.", "percent",
			"{{name}}", top(10, "estiba:container_cpu_usage:percent")), 320)),
		ofContainers(listed(graph(at(12, 4, 12, 9), "Memory", "Resident memory of the ten that used most of it in the time shown. Marks are removals by the manager.", "bytes",
			"{{name}}", top(10, "estiba_container_memory_rss_bytes")), 320)),
		containers,
		ofContainers(graph(at(0, 25, 8, 8), "Disk", "Bytes a second from and to storage, over 30 s, of the six with most in the time shown.", "binBps",
			"{{name}}", top(6, "estiba:container_disk_io:bytes_rate30s"))),
		ofContainers(graph(at(8, 25, 8, 8), "I/O activity", "Read and write calls a second, whatever they reach, over 30 s, of the six with most in the time shown.", "ops",
			"{{name}}", top(6, "estiba:container_io_activity:rate30s"))),
		ofContainers(graph(at(16, 25, 8, 8), "Network", "Bytes a second received and sent, over 30 s, of the six with most in the time shown.", "binBps",
			"{{name}}", top(6, "estiba:container_network:bytes_rate30s"))),
		ofContainers(kinds(stacked(graph(at(0, 33, 12, 8), "Containers by kind", "Running containers by kind: the declared one, else the observed one. One that declares none and idles has none, and is not counted.", "none",
			"{{kind}}", `count by (kind) (estiba:container_kind{`+here+`})`)))),
		ofContainers(painted(painted(stacked(graph(at(12, 33, 12, 8), "Containers by class", "Running containers by class, which is known after 30 s.", "none",
			"{{class}}", `count by (class) (estiba:container_class{`+here+`})`)), "high", "orange"), "low", "green")),
		alerts,
	})
}

// ranked gives alerts the label rank, by which the most severe come first. A severity
// that is not one of ours is its own rank, after those.
func ranked(expr string) string {
	expr = `label_replace(` + expr + `, "rank", "$1", "severity", "(.*)")`
	for _, r := range [][2]string{{"1", "critical"}, {"2", "warning"}, {"3", "info"}} {
		expr = `label_replace(` + expr + `, "rank", "` + r[0] + `", "severity", "` + r[1] + `")`
	}
	return expr
}
