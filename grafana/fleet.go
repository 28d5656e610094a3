package grafana

// fleet is the home of many hosts: it leads to one host and to one container. Its tables
// have a row for each host and for few containers, and nothing in it grows with the number
// of containers but two topk and the count.
func fleet() Dashboard {
	value := func(expr string) string { return "max by (key) (" + keyed(expr, "instance") + ")" }
	// ofHost gives each exporter the value of its host.
	ofHost := func(expr string) string {
		return value("0 * last_over_time(estiba_containers{" + sel + "}[1h]) + on (host) group_left () (" + expr + ")")
	}
	alerts := func(severity string) string {
		return ofHost(`count by (host) (ALERTS{alertstate="firing", severity="`+severity+`", `+here+`})`) +
			" or 0 * " + value("estiba_containers{"+sel+"}")
	}
	busy := `1 - sum by (host, job, instance) (rate(estiba_host_cpu_seconds_total{mode=~"idle|iowait", ` + sel + `}[$__rate_interval])) / on (host, job, instance) estiba_host_cpus{` + sel + `}`
	used := `1 - estiba_host_memory_available_bytes{` + sel + `} / estiba_host_memory_total_bytes{` + sel + `}`

	hosts := table(box(24, 14), "Hosts", "Every exporter that was scraped in the last hour. Age: of the last snapshot that Prometheus has. A name leads to the containers of the host.", "key",
		[]string{
			keyed(orRow(`group by (host, job, instance) (last_over_time(up{`+sel+`}[1h]) and on (job) last_over_time(estiba_scrape_success{`+sel+`}[6h]))`, "instance", "instance", "no exporters"), "instance"),
			"group by (key, source) (" + keyed("estiba_source_active{"+sel+"} == 1", "instance") + ")",
		},
		[]column{
			{title: "Exporter", label: "instance", width: 200, links: to("overview", "instance", "Exporter")},
			{title: "Host", label: "host", width: 180, links: to("overview", "host", "Host")},
			{title: "Up", expr: value(exportersUp) + " or 0 * " + value("last_over_time(up{"+sel+"}[1h])"), width: 70, steps: []Step{base("red"), from(1, "green")}, words: []wordFor{{"0", "down", "red"}, {"1", "up", "green"}}},
			{title: "Source", label: "source", width: 85},
			{title: "CPU", expr: value(busy), unit: "percentunit", decimals: 1, bar: "green", full: 1, steps: shareSteps},
			{title: "Memory", expr: value(used), unit: "percentunit", decimals: 1, bar: "green", full: 1, steps: shareSteps},
			{title: "Cores", expr: value("estiba_host_cpus{" + sel + "}"), unit: "none", width: 70},
			{title: "RAM", expr: value("estiba_host_memory_total_bytes{" + sel + "}"), unit: "bytes", width: 95},
			{title: "Containers", expr: value("estiba_containers{" + sel + "}"), unit: "none", width: 110},
			{title: "Kills (1 h)", expr: ofHost(`round(sum by (host) (increase(estiba_manager_kills_total{mode="live", outcome="done", ` + here + `}[1h])))`), unit: "none", width: 100},
			{title: "Critical", expr: alerts("critical"), unit: "none", width: 85, steps: []Step{base("text"), from(1, "red")}},
			{title: "Warning", expr: alerts("warning"), unit: "none", width: 90, steps: []Step{base("text"), from(1, "orange")}},
			{title: "Age", expr: "time() - " + value("last_over_time(estiba_snapshot_timestamp_seconds{"+sel+"}[1h])"), unit: "s", width: 90, steps: ageSteps},
		})
	hosts = may(sorted(hosts, "CPU"), "no exporter may be scraped")
	for i := range hosts.Targets[1:] {
		hosts.Targets[i+1].MayBeEmpty = "no exporter may be scraped, no alert may fire, no manager may run"
	}

	// busiestNow are the 20 first containers of an expression, with the class in which they are.
	busiestNow := func(title, description, what, unit, color, expr string) Panel {
		p := table(box(12, 14), title, description, "id", nil, []column{
			{title: "Name", label: "name", width: 260, links: to("container", "id", "ID")},
			{title: "Host", label: "host", width: 150, links: to("overview", "host", "Host")},
			{title: "ID", label: "id", width: 118},
			{title: what, unit: unit, bar: color, expr: orRow(named("max by (host, id, name) (topk(20, "+expr+"))"), "id", "name", "no running containers")},
		})
		return may(sorted(p, what), NoContainer)
	}
	top := func(title, description, unit, expr string) Panel {
		return empty(listed(graph(box(12, 9), title, description, unit, "{{instance}}", hosted("topk(10, max by (host, instance) ("+expr+"))", "instance")), 320),
			"unknown", "no exporter may be scraped")
	}

	board := dashboard("fleet", "Fleet", "All hosts: how busy they are, what runs there, how old the data is. It leads to one host and to one container.",
		append(standard("estiba_containers{%s}"), statusPage()), []Panel{
			known(count(box(3, 4), "Hosts", "Exporters whose last scrape succeeded.", `count(`+exportersUp+` == 1)`)),
			stat(box(3, 4), "Down", "Exporters whose last scrape failed.", "none", `count(`+exportersUp+` == 0) or vector(0)`, base("green"), from(1, "red")),
			known(count(box(3, 4), "Containers", "Running containers, on hosts whose exporter can read its source.", `sum(`+seen+`)`)),
			count(box(3, 4), "Kills (1 h)", "Containers killed by the managers in the last hour.",
				`round(sum(increase(estiba_manager_kills_total{mode="live", outcome="done", `+here+`}[1h]))) or vector(0)`),
			hostCPU(box(3, 4)),
			hostMemory(box(3, 4)),
			firing(box(3, 4), "Critical", "critical", "red"),
			firing(box(3, 4), "Warning", "warning", "orange"),
			hosts,
			top("Busiest hosts", "CPU time that is not idle, as a share of all cores. The ten highest at each time.", "percentunit", busy),
			top("Fullest hosts", "Share of memory that is not available to new processes. The ten highest at each time.", "percentunit", used),
			busiestNow("Most CPU", "Percent of one core, over 30 s. The 20 containers that use most now.", "CPU", "percent", "blue", recorded("estiba:container_cpu_usage:percent", "")),
			busiestNow("Most memory", "Working set, resident memory where that is unknown. The 20 containers that use most now.", "Memory", "bytes", "purple", working("", "")),
			alertCounts(),
		})
	board.Refresh, board.Time.From = "30s", "now-1h"
	return board
}

// alertCounts is the table of alerts by name: of 50,000 containers a list would be long.
func alertCounts() Panel {
	each := `ALERTS{alertstate="firing", alertname!="EstibaWatchdog", ` + here + `}`
	p := table(box(24, 8), "Firing alerts", "Alerts by name, the most severe first, on how many hosts and of how many subjects. An alert leads to its runbook.",
		"alertname", nil,
		[]column{
			{title: "Alert", label: "alertname", width: 320, links: runbook},
			{title: "Severity", label: "rank", width: 100, words: severityWords},
			{title: "Hosts", expr: "max by (alertname, rank) (" + ranked("count by (alertname, severity) (group by (alertname, severity, host) ("+each+"))") + ")", unit: "none", width: 120, words: never},
			{title: "Alerts", unit: "none", words: never, expr: "count by (alertname) (" + each + ")"},
		})
	// The row without alerts has to be in the first query of a joined table.
	p.Targets[0].Expr = orRow(p.Targets[0].Expr, "alertname", "alertname", "no firing alerts")
	return may(sortedBy(p, "Severity", false), "no alert may fire")
}
