package grafana

// stack shows the monitoring itself: without it, a failed one looks like a healthy host.
func stack() Dashboard {
	value := func(metric string) string { return "max by (key) (" + keyed(metric+"{"+sel+"}", "instance") + ")" }
	exporters := table(box(24, 7), "Exporters", "Exporters with source and version, including those that are down. Unseen: containers that Docker reports as running and of which the exporter sees no process.", "key", []string{
		"group by (key, host, instance, source) (" + keyed("estiba_source_active{"+sel+"} == 1", "instance") + `) or label_replace(` +
			"group by (key, host, instance) (" + keyed(exportersUp+" == 0", "instance") + `), "source", "down", "", "")`,
		"group by (key, version) (" + keyed("estiba_exporter_build_info{"+sel+"}", "instance") + ")",
	}, []column{
		{title: "Exporter", label: "instance", links: to("overview", "instance", "Exporter")},
		{title: "Host", label: "host", width: 120, links: to("overview", "host", "Host")},
		{title: "Source", label: "source", words: []wordFor{{"kmod", "kmod", "text"}, {"cgroup", "cgroup", "text"}, {"down", "down", "red"}}},
		{title: "Version", label: "version"},
		{title: "Containers", expr: value("estiba_containers"), unit: "none"},
		{title: "Unnamed", expr: value("estiba_containers_unnamed"), unit: "none"},
		{title: "Unseen", expr: value("estiba_containers_unseen"), unit: "none"},
		{title: "Docker", expr: value("estiba_docker_up"), unit: "bool_on_off"},
		{title: "Module", expr: value("estiba_kernel_module_loaded"), unit: "bool_on_off"},
	})
	part := func(aggregation, of string) string {
		return hosted(aggregation+" by (host, job, instance) ("+of+")", "instance")
	}
	variables := standard("up{%s}")
	job := &variables[1]
	// Only the jobs of the monitoring, not all of somebody's Prometheus. So All is these.
	*job = choice("job", "Job", `query_result(group by (job) (last_over_time(up[$__range]) and on (job) (estiba_scrape_success or estiba_manager_dry_run or prometheus_tsdb_head_series or alertmanager_notifications_failed_total)))`)
	job.AllValue = ""
	return dashboard("stack", "Stack", "The monitoring itself: targets, rules, notifications and their cost.", variables, []Panel{
		known(stat(box(4, 5), "Targets up", "Share of targets whose last scrape succeeded.", "percentunit",
			`avg(up{`+sel+`})`, base("red"), from(1, "green"))),
		known(stat(box(4, 5), "Sources OK", "Share of exporters that are up and can read their source.", "percentunit",
			`(sum(estiba_scrape_success{`+sel+`}) or vector(0)) / count(`+exportersUp+`)`, base("red"), from(1, "green"))),
		stat(box(4, 5), "Failed rules", "Rule evaluations that failed in the last five minutes.", "none",
			`round(sum(increase(prometheus_rule_evaluation_failures_total{`+sel+`}[5m])))`, base("green"), from(1, "red")),
		stat(box(4, 5), "Failed notifications", "Notifications that Prometheus dropped or Alertmanager could not deliver in the last five minutes.", "none",
			`round((sum(increase(prometheus_notifications_dropped_total{`+sel+
				`}[5m])) or vector(0)) + (sum(increase(alertmanager_notifications_failed_total{`+sel+`}[5m])) or vector(0)))`,
			base("green"), from(1, "red")),
		stat(box(4, 5), "Series", "Time series in the head block of Prometheus.", "none", `sum(prometheus_tsdb_head_series{`+sel+`})`, base("text")),
		stat(box(4, 5), "Storage size", "Size of the blocks and the write-ahead log of Prometheus. Before Prometheus 2.43: without the log.", "bytes",
			`sum(prometheus_tsdb_storage_blocks_bytes{`+sel+`}) + (sum(prometheus_tsdb_wal_storage_size_bytes{`+sel+`}) or vector(0))`),

		graph(box(12, 9), "Scrape duration", "Duration of the last scrape of each target. Scrape interval: 5 s.", "s",
			"{{job}} {{instance}}", part("max", `scrape_duration_seconds{`+sel+`}`)),
		graph(box(12, 9), "Samples per scrape", "Samples in the last scrape of each target.", "none",
			"{{job}} {{instance}}", part("max", `scrape_samples_scraped{`+sel+`}`)),
		graph(box(12, 8), "CPU by target", "Share of one core.", "percentunit",
			"{{job}} {{instance}}", part("sum", `rate(process_cpu_seconds_total{`+sel+`}[$__rate_interval])`)),
		graph(box(12, 8), "Memory by target", "Resident memory.", "bytes",
			"{{job}} {{instance}}", part("sum", `process_resident_memory_bytes{`+sel+`}`)),
		graph(box(12, 9), "Rule evaluation", "Duration of the last evaluation of each rule group. Evaluation interval: 5 s.", "s",
			"{{rule_group}}", hosted(`max by (host, rule_group) (label_replace(prometheus_rule_group_last_duration_seconds{`+sel+`}, "rule_group", "$1", "rule_group", ".*;(.*)"))`, "rule_group")),
		graph(box(12, 9), "Exporter duration", "Time to collect a snapshot of all containers, and to answer a whole scrape.", "s",
			"collect {{instance}}", hosted(`max by (host, instance) (estiba_snapshot_collect_seconds{`+sel+`})`, "instance"),
			"scrape {{instance}}", hosted(`max by (host, instance) (estiba_scrape_duration_seconds{`+sel+`})`, "instance")),
		exporters,
	})
}

// exportersUp is whether the last scrape of each exporter succeeded. A job has exporters
// if one of its targets had their series; the name of the job does not matter.
const exportersUp = `(up{` + sel + `} and on (job) last_over_time(estiba_scrape_success{` + sel + `}[6h]))`
