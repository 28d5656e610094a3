package grafana

// containerBoard shows one container, also one that is gone since.
func containerBoard() Dashboard {
	const gone = "the container may be gone, or have none of it"
	may := func(p Panel) Panel { return empty(p, "not known", gone) }
	const known = `query_result(group by (id, name) (last_over_time(estiba_container_info{` + here + `}[$__range])))`
	id := Variable{
		Name: "id", Label: "Container", Type: "query", Datasource: source,
		Definition: known, Query: VariableQuery{Query: known, RefID: "id"},
		// Grafana writes a series as {id="…",name="…"}; an unknown name is left out.
		Regex: `/id="(?<value>[^"]+)"(?:,\s*name="(?<text>[^"]+)")?/`, Refresh: 2, Sort: 1,
	}
	const sel = `{id="$id", ` + here + `}`
	of := func(metric string) string { return "sum by (id) (" + metric + sel + ")" }
	rate := func(metric string) string { return "sum by (id) (rate(" + metric + sel + "[$__rate_interval]))" }

	memory := dashed(graph(at(12, 5, 12, 9), "Memory",
		"Resident memory, swapped memory, and what its cgroup counts (page cache included). Dashed: its limit, if it has one.", "bytes",
		"resident", of("estiba_container_memory_rss_bytes"),
		"swapped", of("estiba_container_memory_swap_bytes"),
		"cgroup", of("estiba_container_memory_usage_bytes"),
		"limit", "sum by (id) (estiba_container_memory_limit_bytes"+sel+" > 0)"), "limit")

	board := dashboard("container", "Container", "One container: what it uses against what it may.", []Variable{id}, []Panel{
		may(word(at(0, 0, 4, 5), "Class", "Low: at most 0.09 % of a core and 0.16 % of the host's memory; high otherwise.", "class",
			`estiba:container_class`+sel, "")),
		may(word(at(4, 0, 4, 5), "Kind", "The declared kind, else the observed one; none when it declares none and idles.", "kind",
			`estiba:container_kind`+sel, `estiba:container_kind_strength:ratio`+sel)),
		may(word(at(8, 0, 4, 5), "Image", "The image it was made from.", "image", `estiba_container_info`+sel, "")),
		may(bare(stat(at(12, 0, 4, 5), "Age", "Time since it was started.", "s", `time() - max(estiba_container_start_time_seconds`+sel+`)`, base("text")))),
		// The exporter has memory and limit from the same cgroup: where it can read the one
		// and has no other, there is none.
		may(says(bare(stat(at(16, 0, 4, 5), "Memory of limit", "Resident memory as a share of its limit. No limit: its own cgroup has none. Not known: nothing is known of its cgroup.", "percentunit",
			`max(estiba_container_memory_rss_bytes`+sel+` / (estiba_container_memory_limit_bytes`+sel+` > 0)) or on () `+
				`(0 * group(estiba_container_memory_usage_bytes`+sel+` unless on (host, job, instance, id) (estiba_container_memory_limit_bytes`+sel+` > 0)) - 2)`,
			base("green"), from(0.8, "orange"), from(0.9, "red"))), NoLimit, "no limit")),
		empty(stat(at(20, 0, 4, 5), "OOM kills", "Processes of it that the kernel killed for want of memory, in the time shown.", "none",
			`round(sum(increase(estiba_container_oom_kills_total`+sel+`[$__range])))`, base("green"), from(1, "red")),
			"not known", "not every host counts them"),

		may(graph(at(0, 5, 12, 9), "CPU", "Share of one core, in user and kernel mode, and the time it waited because its quota was used up, summed over the cores that it waited for.", "percentunit",
			"user", rate("estiba_container_cpu_user_seconds_total"),
			"system", rate("estiba_container_cpu_system_seconds_total"),
			"throttled", rate("estiba_container_cpu_throttled_seconds_total"))),
		may(memory),
		may(graph(at(0, 14, 8, 8), "Disk", "Bytes a second from and to storage.", "binBps",
			"read", rate("estiba_container_disk_read_bytes_total"),
			"written", rate("estiba_container_disk_written_bytes_total"))),
		may(graph(at(8, 14, 8, 8), "I/O calls", "Read and write calls a second, whatever they reach.", "ops",
			"reads", rate("estiba_container_io_reads_total"),
			"writes", rate("estiba_container_io_writes_total"))),
		may(graph(at(16, 14, 8, 8), "Network", "Bytes a second received and sent. Not known of a container in the host's own network.", "binBps",
			"received", rate("estiba_container_network_receive_bytes_total"),
			"sent", rate("estiba_container_network_transmit_bytes_total"))),
		may(graph(at(0, 22, 12, 8), "Processes and threads", "How many it has.", "none",
			"processes", of("estiba_container_processes"),
			"threads", of("estiba_container_threads"))),
		may(kinds(graph(at(12, 22, 12, 8), "Kind", "What it does, divided by what counts as doing it: from 1 on it behaves as that kind, the largest wins.", "none",
			"{{kind}}", `max by (kind) (estiba:container_kind_strength:ratio`+sel+`)`))),
	})
	// Here only its own removal is a mark.
	board.Annotations.List = []Annotation{kills(`, id="$id"`)}
	return board
}
