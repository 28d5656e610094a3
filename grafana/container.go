package grafana

// containerBoard shows one container, running or exited.
func containerBoard() Dashboard {
	const gone = "the container may have exited, or have no such samples"
	may := func(p Panel) Panel { return empty(p, "unknown", gone) }
	const known = `query_result(group by (id, name) (last_over_time(estiba_container_info{` + sel + `}[$__range])))`
	id := Variable{
		Name: "id", Label: "Container", Type: "query", Datasource: &source,
		Definition: known, Query: VariableQuery{Query: known, RefID: "id"},
		// Grafana formats a series as {id="…",name="…"}, without name if it is unknown.
		Regex: `/id="(?<value>[^"]+)"(?:,\s*name="(?<text>[^"]+)")?/`, Refresh: 2, Sort: 1,
	}
	const one = `{id="$id", ` + sel + `}`
	// Of recorded series, alerts and the manager.
	const recordedOne = `{id="$id", ` + here + `}`
	of := func(metric string) string { return "sum by (id) (" + metric + one + ")" }
	rate := func(metric string) string { return "sum by (id) (rate(" + metric + one + "[$__rate_interval]))" }
	class := says(says(stat(box(3, 3), "Class", "Low: "+classText+". High: everything else. Unknown for the first 30 s.", "none",
		`2 * group(estiba:container_class{class="high", id="$id", `+here+`}) or group(estiba:container_class{class="low", id="$id", `+here+`})`, base("text")),
		2, "high"), 1, "low")
	recolor(class, "2", "orange")
	recolor(class, "1", "green")

	memory := dashed(graph(box(12, 9), "Memory",
		"Working set: memory of the cgroup minus inactive file cache, what counts for the limit. Resident: sum over processes, where shared pages count twice and file cache not at all. Cgroup: with all cache. Dashed: the limit, if any.", "bytes",
		"working set", of("estiba_container_memory_working_set_bytes"),
		"resident", of("estiba_container_memory_rss_bytes"),
		"swapped", of("estiba_container_memory_swap_bytes"),
		"cgroup", of("estiba_container_memory_usage_bytes"),
		"limit", "sum by (id) (estiba_container_memory_limit_bytes"+one+" > 0)"), "limit")

	decision := word(box(5, 3), "Last decision", "Decision of the manager's last tick, and the reason. It leads to the container on the manager's status page.", "why",
		`label_join(estiba_manager_container_decision`+recordedOne+`, "why", ": ", "decision", "reason")`, "")
	decision.FieldConfig.Defaults.Links = []DataLink{{Title: "Status page", URL: "${manager:raw}/?q=${id}"}}

	board := dashboard("container", "Container", "One container: usage and limits.", append(standard("estiba_containers{%s}"), id, statusPage()), []Panel{
		may(bare(class)),
		may(word(box(3, 3), "Kind", "Declared kind, else observed. None: no declared kind, and idle.", "kind",
			`estiba:container_kind`+recordedOne, `estiba:container_kind_strength:ratio`+recordedOne)),
		// From the runtime, also when the container is not running.
		may(word(box(3, 3), "State", "State of the container, from its runtime.", "state", `estiba_container_state`+one, "")),
		may(word(box(3, 3), "Health", "Result of the health check. None: there is no check, or the container is not running.", "status",
			`estiba_container_health`+one, `estiba_container_state`+one)),
		may(bare(stat(box(3, 3), "Age", "Time since the start of the container.", "s",
			`time() - max(estiba_container_start_time_seconds`+one+`)`, base("text")))),
		empty(bare(stat(box(3, 3), "Restarts", "Restarts by the restart policy, in the time range.", "none",
			`round(sum(increase(estiba_container_restarts_total`+one+`[$__range])))`, base("green"), from(1, "orange"))), "unknown",
			"the runtime may not answer"),
		empty(bare(stat(box(3, 3), "Last exit code", "Exit code of the last exit in the time range: 128 plus the signal after a kill by signal, so 137 after SIGKILL.", "none",
			`max(estiba_container_exit_code`+one+`)`, base("green"), from(1, "red"))), "none seen", "no exit in the time range"),
		empty(bare(stat(box(3, 3), "OOM kills", "Processes that the kernel killed for lack of memory, in the time range.", "none",
			`round(sum(increase(estiba_container_oom_kills_total`+one+`[$__range])))`, base("green"), from(1, "red"))),
			"unknown", "not every host counts them"),

		// Memory and limit are files of one cgroup: memory without a limit means no limit.
		may(says(bare(stat(box(4, 3), "Memory limit used", "Working set as a share of the memory limit. No limit: the cgroup has none. Unknown: the cgroup cannot be read.", "percentunit",
			`max(estiba_container_memory_working_set_bytes`+one+` / (estiba_container_memory_limit_bytes`+one+` > 0)) or on () `+
				`(0 * group(estiba_container_memory_usage_bytes`+one+
				` unless on (host, job, instance, id) (estiba_container_memory_limit_bytes`+one+` > 0)) - 2)`,
			shareSteps...)), NoLimit, "no limit")),
		may(says(bare(stat(box(4, 3), "CPU limit used", "CPU usage as a share of the CPU limit. No limit: the cgroup has none.", "percentunit",
			`max(rate(estiba_container_cpu_seconds_total`+one+`[$__rate_interval]) / (estiba_container_cpu_limit_cores`+one+` > 0)) or on () `+
				`(0 * group(estiba_container_processes`+one+` unless on (host, job, instance, id) (estiba_container_cpu_limit_cores`+one+` > 0)) - 2)`,
			shareSteps...)), NoLimit, "no limit")),
		may(decision),
		may(word(box(8, 3), "Image", "Image of the container.", "image", `estiba_container_info`+one, "")),
		bare(stat(box(3, 3), "Alerts", "Firing alerts of this container: see the table below.", "none",
			`count(ALERTS{alertstate="firing", alertname!="EstibaWatchdog", id="$id", `+here+`}) or vector(0)`, base("green"), from(1, "orange"))),

		marked(may(dashed(graph(box(12, 9), "CPU", "Share of one core in user and system mode, and time throttled by the CPU limit, summed over cores. Dashed: the limit, if any.", "percentunit",
			"user", rate("estiba_container_cpu_user_seconds_total"),
			"system", rate("estiba_container_cpu_system_seconds_total"),
			"throttled", rate("estiba_container_cpu_throttled_seconds_total"),
			"limit", of("estiba_container_cpu_limit_cores")), "limit"))),
		marked(may(memory)),
		may(graph(box(24, 8), "Pressure", "Share of time in which a task of the container waited for a resource (PSI).", "percentunit",
			"{{resource}}", "sum by (resource) (rate(estiba_container_pressure_waiting_seconds_total"+one+"[$__rate_interval]))")),
		firingAlerts(box(24, 6), `id="$id", `),

		section("Storage and network"),
		may(graph(box(12, 8), "Asked for and from storage", "Asked for: bytes of read and write calls, to files, pipes and sockets. Storage: what reached the disks, the rest is page cache, pipes and sockets.", "binBps",
			"read, asked for", rate("estiba_container_io_read_bytes_total"),
			"read, storage", rate("estiba_container_disk_read_bytes_total"),
			"written, asked for", rate("estiba_container_io_written_bytes_total"),
			"written, storage", rate("estiba_container_disk_written_bytes_total"))),
		may(graph(box(12, 8), "Disk", "Bytes per second read from and written to storage.", "binBps",
			"read", rate("estiba_container_disk_read_bytes_total"),
			"written", rate("estiba_container_disk_written_bytes_total"))),
		may(graph(box(12, 8), "I/O calls", "Read and write system calls per second.", "ops",
			"reads", rate("estiba_container_io_reads_total"),
			"writes", rate("estiba_container_io_writes_total"))),
		may(graph(box(12, 8), "Network", "Bytes per second received and sent. Unknown for containers in the network namespace of the host.", "binBps",
			"received", rate("estiba_container_network_receive_bytes_total"),
			"sent", rate("estiba_container_network_transmit_bytes_total"))),

		section("Processes and kind"),
		may(graph(box(12, 8), "Processes and threads", "Number of processes and threads.", "none",
			"processes", of("estiba_container_processes"),
			"threads", of("estiba_container_threads"))),
		may(kinds(graph(box(12, 8), "Kind", "Usage divided by the threshold of each kind. At 1 or more the container behaves as that kind; the highest wins.", "none",
			"{{kind}}", `max by (kind) (estiba:container_kind_strength:ratio`+recordedOne+`)`))),
	})
	// Mark only the kill of this container.
	return killed(board, kills(`estiba_manager_recent_kill_timestamp_seconds{mode="live", outcome="done", id="$id", `+here+`} * 1000`,
		"{{name}} killed", "kind {{kind}}, rule {{rule}}, kill {{kill_id}}"))
}

// recolor sets the colour of a text of says.
func recolor(p Panel, value, color string) {
	for _, m := range p.FieldConfig.Defaults.Mappings {
		options, _ := m.(map[string]any)["options"].(map[string]any)
		if shown, ok := options[value].(map[string]any); ok {
			shown["color"] = color
		}
	}
}
