package grafana

// manager shows what the manager decided, did and left undone.
func manager() Dashboard {
	const asked = "nothing may have been removed yet"
	kills := table(at(0, 30, 24, 10), "Last removals", "The last orders to remove, at most 50. The record holds all of them under the same kill id.",
		"kill_id", nil,
		[]column{{title: "Container", label: "name"}, {title: "Host", label: "host", width: 120}, {title: "Id", label: "id"}, {title: "Kind", label: "kind", words: kindWords}, {title: "Rule", label: "rule"},
			{title: "Mode", label: "mode"}, {title: "Outcome", label: "outcome", words: outcomeWords}, {title: "Kill id", label: "kill_id"},
			{title: "When", expr: orRow(`1000 * max by (host, kill_id, rule, kind, id, name, mode, outcome) (estiba_manager_recent_kill_timestamp_seconds{`+here+`})`, "kill_id", "name", "nothing removed yet"), unit: "dateTimeFromNow", words: never}})
	kills = sorted(kills, "When")
	kills.MayBeEmpty = asked
	protected := table(at(0, 40, 24, 8), "Protected", "Containers that the manager never touches, and why.", "id", nil,
		[]column{{title: "Container", label: "name"}, {title: "Host", label: "host", width: 120}, {title: "Id", label: "id"}, {title: "Why", label: "why"}})
	protected.Targets = []Target{instant(0, orRow(`group by (host, id, name, why) (estiba_manager_protected{`+here+`})`, "id", "name", "no container is protected"))}
	protected.MayBeEmpty = "nothing may be protected"

	return dashboard("manager", "Manager", "What the manager decided, what it did, and what held it back.", nil, []Panel{
		// It goes on growing when the manager is gone.
		orNever(known(stat(at(0, 0, 4, 5), "Last decision", "Time since the last tick that ended well, of several hosts the longest, also of a manager that is gone since an hour or less. It should be less than two intervals.", "s",
			`time() - min(last_over_time(estiba_manager_last_success_timestamp_seconds{`+here+`}[1h]))`, base("green"), from(30, "orange"), from(60, "red")))),
		// NaN: there was no snapshot.
		known(stat(at(4, 0, 4, 5), "Age of data", "Age of the exporter's snapshot at the last tick; on old data nobody is removed.", "s",
			`max(estiba_manager_data_age_seconds{`+here+`} >= 0)`, base("green"), from(10, "orange"), from(20, "red"))),
		known(count(at(8, 0, 4, 5), "Removed, last hour", "Containers removed in the last hour.",
			`round(sum(increase(estiba_manager_kills_total{mode="live", outcome="done", `+here+`}[1h])))`)),
		known(stat(at(12, 0, 4, 5), "Failed, last hour", "Orders that failed, or whose end is not known.", "none",
			`round(sum(increase(estiba_manager_kills_total{mode="live", outcome=~"failed|unknown", `+here+`}[1h])))`, base("green"), from(1, "red"))),
		known(stat(at(16, 0, 4, 5), "Budget left", "How many more the last tick might have removed.", "none",
			`min(estiba_manager_kill_budget_remaining{`+here+`})`, base("red"), from(1, "green"))),
		known(stat(at(20, 0, 2, 5), "Dry run", "Yes: it decides and records, and removes nobody.", "bool_yes_no",
			`max(estiba_manager_dry_run{`+here+`})`, base("green"), from(1, "orange"))),
		known(stat(at(22, 0, 2, 5), "Policy ok", "Yes: the last load of the policy file was accepted.", "bool_yes_no",
			`min(estiba_manager_config_last_reload_successful{`+here+`})`, base("red"), from(1, "green"))),

		kinds(stacked(graph(at(0, 5, 12, 8), "Removed", "Containers removed a minute, by kind.", "none",
			"{{kind}}", `label_replace(60 * sum by (kind) (rate(estiba_manager_kills_total{mode="live", outcome="done", `+here+`}[1m])), "kind", "not known", "kind", "")`))),
		empty(graph(at(12, 5, 12, 8), "Spared", "Verdicts a minute that spared a container, by the reason.", "none",
			"{{reason}}", `60 * sum by (reason) (rate(estiba_manager_decisions_total{decision="spare", `+here+`}[1m])) > 0`), "nothing spared", NoContainer),
		ofContainers(kinds(stacked(graph(at(0, 13, 8, 8), "Containers in scope", "Containers that the policy may act on, by kind.", "none",
			"{{kind}}", `label_replace(sum by (kind) (estiba_manager_containers{`+here+`}) > 0, "kind", "not known", "kind", "")`)))),
		empty(graph(at(8, 13, 8, 8), "Ticks", "Ticks a minute by how they ended.", "none",
			"{{result}}", `60 * sum by (result) (rate(estiba_manager_ticks_total{`+here+`}[1m])) > 0`), "no tick yet", ""),
		empty(graph(at(16, 13, 8, 8), "Outcomes", "Orders a minute by what came of them.", "none",
			"{{outcome}}", `60 * sum by (outcome) (rate(estiba_manager_kills_total{`+here+`}[1m])) > 0`), "nothing removed", asked),
		graph(at(0, 21, 12, 9), "Time to decide", "Mean time from the start of a tick to its decision.", "s",
			"mean", `sum(rate(estiba_manager_tick_duration_seconds_sum{`+here+`}[$__rate_interval])) / sum(rate(estiba_manager_tick_duration_seconds_count{`+here+`}[$__rate_interval]))`),
		empty(graph(at(12, 21, 12, 9), "Time to remove", "Mean time from intent to outcome of the removals in the last five minutes.", "s",
			"mean", `sum(rate(estiba_manager_kill_duration_seconds_sum{`+here+`}[5m])) / (sum(rate(estiba_manager_kill_duration_seconds_count{`+here+`}[5m])) > 0)`),
			"nothing removed in five minutes", asked),
		kills,
		protected,
	})
}

// outcomeWords paint what did not go as it should.
var outcomeWords = []wordFor{{"done", "done", "green"}, {"already_gone", "already_gone", "text"}, {"refused", "refused", "text"}, {"dry_run", "dry_run", "text"},
	{"failed", "failed", "red"}, {"unknown", "unknown", "red"}, {"no_record", "no_record", "red"}}

// orNever says so of a time since 1970: of what has not happened yet.
func orNever(p Panel) Panel {
	p.FieldConfig.Defaults.Mappings = append(p.FieldConfig.Defaults.Mappings, map[string]any{"type": "range",
		"options": map[string]any{"from": 1e9, "to": 1e12, "result": map[string]any{"text": "never", "color": "red", "index": len(p.FieldConfig.Defaults.Mappings)}}})
	return p
}
