package grafana

// stack shows the monitoring itself: a silent one looks like a healthy host.
func stack() Dashboard {
	value := func(metric string) string { return "max by (key) (" + keyed(metric+"{"+here+"}", "instance") + ")" }
	exporters := table(at(0, 31, 24, 7), "Exporters", "Each exporter, its source and its release, also one that does not answer.", "key", []string{
		"group by (key, host, instance, source) (" + keyed("estiba_source_active{"+here+"} == 1", "instance") + `) or label_replace(` +
			"group by (key, host, instance) (" + keyed(`up{job="estiba", `+here+"} == 0", "instance") + `), "source", "does not answer", "", "")`,
		"group by (key, version) (" + keyed("estiba_exporter_build_info{"+here+"}", "instance") + ")",
	}, []column{
		{title: "Exporter", label: "instance"}, {title: "Host", label: "host", width: 120}, {title: "Source", label: "source", words: []wordFor{{"kmod", "kmod", "text"}, {"cgroup", "cgroup", "text"}, {"does not answer", "does not answer", "red"}}}, {title: "Release", label: "version"},
		{title: "Containers", expr: value("estiba_containers"), unit: "none"},
		{title: "Without a name", expr: value("estiba_containers_unnamed"), unit: "none"},
		{title: "Docker", expr: value("estiba_docker_up"), unit: "bool_on_off"},
		{title: "Module", expr: value("estiba_kernel_module_loaded"), unit: "bool_on_off"},
	})
	exporters.FieldConfig.Overrides = append(exporters.FieldConfig.Overrides, linked("Host", "this host",
		"/d/estiba-overview/estiba-overview?var-host=${__data.fields.Host}&${__url_time_range}"))
	part := func(aggregation, of string) string {
		return hosted(aggregation+" by (host, job, instance) ("+of+")", "instance")
	}
	return dashboard("stack", "Stack", "The monitoring itself: is everything scraped, evaluated and told, and at what cost.", nil, []Panel{
		known(stat(at(0, 0, 4, 5), "Parts that answer", "Share of the targets that answered the last scrape.", "percentunit",
			`avg(up{`+here+`})`, base("red"), from(1, "green"))),
		known(stat(at(4, 0, 4, 5), "Sources that work", "Share of the exporters that answered and could read their containers.", "percentunit",
			`(sum(estiba_scrape_success{`+here+`}) or vector(0)) / count(up{job="estiba", `+here+`})`, base("red"), from(1, "green"))),
		stat(at(8, 0, 4, 5), "Rules that failed", "Rule evaluations that failed in the last five minutes.", "none",
			`round(sum(increase(prometheus_rule_evaluation_failures_total{`+here+`}[5m])))`, base("green"), from(1, "red")),
		stat(at(12, 0, 4, 5), "Messages that failed", "Notifications that Prometheus dropped or Alertmanager could not deliver in the last five minutes.", "none",
			`round((sum(increase(prometheus_notifications_dropped_total{`+here+`}[5m])) or vector(0)) + (sum(increase(alertmanager_notifications_failed_total{`+here+`}[5m])) or vector(0)))`,
			base("green"), from(1, "red")),
		stat(at(16, 0, 4, 5), "Series", "Time series in Prometheus' head.", "none", `sum(prometheus_tsdb_head_series{`+here+`})`, base("text")),
		stat(at(20, 0, 4, 5), "History on disk", "Size of Prometheus' blocks and write-ahead log (before Prometheus 2.43 without the log).", "bytes",
			`sum(prometheus_tsdb_storage_blocks_bytes{`+here+`}) + (sum(prometheus_tsdb_wal_storage_size_bytes{`+here+`}) or vector(0))`),

		graph(at(0, 5, 12, 9), "Scrape duration", "How long each part takes to answer a scrape. A scrape each 5 s.", "s",
			"{{job}} {{instance}}", part("max", `scrape_duration_seconds{`+here+`}`)),
		graph(at(12, 5, 12, 9), "Samples a scrape", "Samples in each answer.", "none",
			"{{job}} {{instance}}", part("max", `scrape_samples_scraped{`+here+`}`)),
		graph(at(0, 14, 12, 8), "CPU of the parts", "Share of one core.", "percentunit",
			"{{job}} {{instance}}", part("sum", `rate(process_cpu_seconds_total{`+here+`}[$__rate_interval])`)),
		graph(at(12, 14, 12, 8), "Memory of the parts", "Resident memory.", "bytes",
			"{{job}} {{instance}}", part("sum", `process_resident_memory_bytes{`+here+`}`)),
		graph(at(0, 22, 12, 9), "Rule evaluation", "How long the last evaluation of each rule group took. An evaluation each 5 s.", "s",
			"{{rule_group}}", hosted(`max by (host, rule_group) (label_replace(prometheus_rule_group_last_duration_seconds{`+here+`}, "rule_group", "$1", "rule_group", ".*;(.*)"))`, "rule_group")),
		graph(at(12, 22, 12, 9), "Exporter", "How long a snapshot of all containers takes the exporter, and how long the whole answer to a scrape.", "s",
			"collect {{instance}}", hosted(`max by (host, instance) (estiba_snapshot_collect_seconds{`+here+`})`, "instance"),
			"scrape {{instance}}", hosted(`max by (host, instance) (estiba_scrape_duration_seconds{`+here+`})`, "instance")),
		exporters,
	})
}
