package grafana

// busiest bounds what a graph draws: a thousand lines are no picture.
const busiest = "topk(20, "

// overview is the home: what runs, what it uses, what happened.
func overview() Dashboard {
	const none = "no container"
	top := func(expr string) string { return orZero(busiest+expr+")", none) }
	containers := table(at(0, 32, 24, 11), "Containers now",
		"Every running container with its class (low: at most 0.09 % of a core and 0.16 % of the host's memory), its kind (declared, else observed) and its use. A kind that its behaviour contradicts has the observed one beside it.",
		"id", "no container runs",
		[]string{
			`group by (id, name, image, managed, protected) (estiba_container_info)`,
			`group by (id, kind) (estiba:container_kind)`,
			`group by (id, observed) (estiba:container_kind_mismatch)`,
			`group by (id, class) (estiba:container_class)`,
		},
		[]column{
			{title: "Name", label: "name"}, {title: "Id", label: "id"}, {title: "Image", label: "image"},
			{title: "Class", label: "class"}, {title: "Kind", label: "kind"}, {title: "Behaves as", label: "observed"},
			{title: "Managed", label: "managed"}, {title: "Protected", label: "protected"},
			{title: "CPU", expr: `max by (id) (estiba:container_cpu_usage:percent)`, unit: "percent"},
			{title: "Memory", expr: `max by (id) (estiba_container_memory_rss_bytes)`, unit: "bytes"},
			{title: "Memory %", expr: `max by (id) (estiba:container_memory_usage:percent)`, unit: "percent"},
			{title: "Disk", expr: `max by (id) (estiba:container_disk_io:bytes_rate30s)`, unit: "binBps"},
			{title: "I/O", expr: `max by (id) (estiba:container_io_activity:rate30s)`, unit: "ops"},
			{title: "Network", expr: `max by (id) (estiba:container_network:bytes_rate30s)`, unit: "binBps"},
			{title: "Age", expr: `time() - max by (id) (estiba_container_start_time_seconds)`, unit: "s"},
		})
	containers.MayBeEmpty = "no container may run"
	containers.Targets[2].MayBeEmpty = "no container may contradict its declared kind"
	containers.FieldConfig.Overrides = append(containers.FieldConfig.Overrides, Override{
		Matcher: Matcher{ID: "byName", Options: "Name"},
		Properties: []Property{{ID: "links", Value: []DataLink{{Title: "this container",
			URL: "/d/estiba-container/estiba-container?var-id=${__data.fields.Id}&${__url_time_range}"}}}},
	})
	alerts := table(at(0, 43, 24, 7), "Alerts that fire", "What Alertmanager has been told. Each has a runbook in docs/runbooks.",
		"alertname", "nothing fires",
		nil,
		[]column{{title: "Alert", label: "alertname"}, {title: "Severity", label: "severity"}, {title: "About", label: "subject"},
			{title: "Container", label: "name"}, {title: "Kind", label: "kind"}, {title: "Rule", label: "rule"},
			{title: "Firing for", unit: "s",
				expr: `time() - max by (alertname, severity, subject, name, kind, rule) (ALERTS_FOR_STATE and ignoring (alertstate) ALERTS{alertstate="firing", alertname!="EstibaWatchdog"})`}})
	alerts.MayBeEmpty = "nothing may fire"

	return dashboard("overview", "Overview", "Every container of every host: what it uses, what it is, what became of it.", nil, []Panel{
		stat(at(0, 0, 3, 4), "Containers", "Containers that run.", "none", `sum(estiba_containers) or vector(0)`),
		stat(at(3, 0, 3, 4), "High", "Containers of class high: more than 0.09 % of a core or 0.16 % of the host's memory.", "none",
			`count(estiba:container_class{class="high"}) or vector(0)`),
		stat(at(6, 0, 3, 4), "Low", "Containers of class low: at most 0.09 % of a core and 0.16 % of the host's memory.", "none",
			`count(estiba:container_class{class="low"}) or vector(0)`),
		stat(at(9, 0, 3, 4), "Managed", "Containers labelled estiba.managed=true: the only ones that the manager may remove.", "none",
			`count(estiba_container_info{managed="true"}) or vector(0)`),
		stat(at(12, 0, 3, 4), "Removed, last hour", "Containers that the manager removed in the last hour.", "none",
			`round(sum(increase(estiba_manager_kills_total{mode="live", outcome="done"}[1h]))) or vector(0)`),
		stat(at(15, 0, 3, 4), "Host CPU", "Share of all cores that is not idle.", "percentunit",
			`1 - sum(rate(estiba_host_cpu_seconds_total{mode=~"idle|iowait"}[$__rate_interval])) / sum(estiba_host_cpus)`,
			base("green"), from(0.8, "orange"), from(0.95, "red")),
		stat(at(18, 0, 3, 4), "Host memory", "Share of memory that is not available to a new program.", "percentunit",
			`1 - sum(estiba_host_memory_available_bytes) / sum(estiba_host_memory_total_bytes)`,
			base("green"), from(0.85, "orange"), from(0.95, "red")),
		stat(at(21, 0, 3, 4), "Alerts", "Alerts that fire and are not mere information.", "none",
			`count(ALERTS{alertstate="firing", severity=~"warning|critical"}) or vector(0)`,
			base("green"), from(1, "red")),

		graph(at(0, 4, 12, 10), "CPU", "Percent of one core, over 30 s, the 20 busiest. Marks are removals by the manager.", "percent",
			"{{name}}", top("estiba:container_cpu_usage:percent")),
		graph(at(12, 4, 12, 10), "Memory", "Resident memory, the 20 largest. Marks are removals by the manager.", "bytes",
			"{{name}}", top("max by (host, id, name) (estiba_container_memory_rss_bytes)")),
		graph(at(0, 14, 8, 9), "Disk", "Bytes a second from and to storage, over 30 s, the 20 busiest.", "binBps",
			"{{name}}", top("estiba:container_disk_io:bytes_rate30s")),
		graph(at(8, 14, 8, 9), "I/O activity", "Read and write calls a second, whatever they reach, over 30 s, the 20 busiest.", "ops",
			"{{name}}", top("estiba:container_io_activity:rate30s")),
		graph(at(16, 14, 8, 9), "Network", "Bytes a second received and sent, over 30 s, the 20 busiest.", "binBps",
			"{{name}}", top("estiba:container_network:bytes_rate30s")),
		graph(at(0, 23, 12, 9), "Containers by kind", "Running containers by kind: the declared one, else the observed one.", "none",
			"{{kind}}", `count by (kind) (estiba:container_kind) or on () label_replace(vector(0), "kind", "none", "", "")`),
		graph(at(12, 23, 12, 9), "Containers by class", "Running containers by class.", "none",
			"{{class}}", `count by (class) (estiba:container_class) or on () label_replace(vector(0), "class", "none", "", "")`),
		containers,
		alerts,
	})
}
