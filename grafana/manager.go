package grafana

// manager shows decisions, kills and the state of the manager.
func manager() Dashboard {
	const asked = "the manager may have killed nothing yet"
	kills := table(box(24, 10), "Recent kills", "The last kills, at most 50. The audit log has all of them under the same kill IDs.",
		"kill_id", nil,
		[]column{
			{title: "Container", label: "name", links: to("container", "id", "ID")},
			{title: "Host", label: "host", width: 120, links: to("overview", "host", "Host")},
			{title: "ID", label: "id", links: []DataLink{{Title: "Status page", URL: "${manager:raw}/?q=${__data.fields.ID}"}}},
			{title: "Kind", label: "kind", words: kindWords},
			{title: "Rule", label: "rule"},
			{title: "Mode", label: "mode"},
			{title: "Outcome", label: "outcome", words: outcomeWords},
			{title: "Kill ID", label: "kill_id"},
			{title: "When", expr: "label_replace(" + orRow(`1000 * max by (host, kill_id, rule, kind, id, name, mode, outcome) (estiba_manager_recent_kill_timestamp_seconds{`+sel+`})`, "kill_id", "name", "no kills yet") + `, "id", "` + dash + `", "id", "")`, unit: "dateTimeFromNow", words: never},
		})
	kills = sorted(kills, "When")
	kills.MayBeEmpty = asked
	protected := table(box(24, 8), "Protected", "Containers that the manager never kills, and why.", "id", nil,
		[]column{{title: "Container", label: "name", links: to("container", "id", "ID")}, {title: "Host", label: "host", width: 120}, {title: "ID", label: "id"}, {title: "Why", label: "why"}})
	protected.Targets = []Target{instant(0, orRow(`group by (host, id, name, why) (estiba_manager_protected{`+sel+`})`, "id", "name",
		"no protected containers"))}
	protected.MayBeEmpty = "no container may be protected"

	return dashboard("manager", "Manager", "Decisions and kills of the manager, and why it spared containers.",
		append(standard("estiba_manager_dry_run{%s}"), statusPage()), []Panel{
			// Grows while the manager is down.
			orNever(known(stat(box(4, 5), "Last tick", "Time since the last successful tick; of several hosts, the longest. Includes managers that went down in the last hour. Normal: less than two intervals.", "s",
				`time() - min(last_over_time(estiba_manager_last_success_timestamp_seconds{`+sel+`}[1h]))`, base("green"), from(30, "orange"), from(60, "red")))),
			// NaN: no snapshot.
			known(stat(box(4, 5), "Data age", "Age of the exporter's snapshot at the last tick. The manager kills nothing on old data.", "s",
				`max(estiba_manager_data_age_seconds{`+sel+`} >= 0)`, base("green"), from(10, "orange"), from(20, "red"))),
			known(count(box(4, 5), "Kills (1 h)", "Containers killed in the last hour.",
				`round(sum(increase(estiba_manager_kills_total{mode="live", outcome="done", `+sel+`}[1h])))`)),
			known(stat(box(4, 5), "Failed kills (1 h)", "Kills in the last hour that failed or whose outcome is unknown.", "none",
				`round(sum(increase(estiba_manager_kills_total{mode="live", outcome=~"failed|unknown", `+sel+`}[1h])))`, base("green"), from(1, "red"))),
			known(stat(box(4, 5), "Budget left", "Kills left in the budget of the last tick.", "none",
				`min(estiba_manager_kill_budget_remaining{`+sel+`})`, base("red"), from(1, "green"))),
			known(stat(box(2, 5), "Dry run", "Yes: decides and records, kills nothing.", "bool_yes_no",
				`max(estiba_manager_dry_run{`+sel+`})`, base("green"), from(1, "orange"))),
			known(stat(box(2, 5), "Policy", "Yes: the last load of the policy file succeeded.", "bool_yes_no",
				`min(estiba_manager_config_last_reload_successful{`+sel+`})`, base("red"), from(1, "green"))),

			kinds(stacked(graph(box(12, 8), "Kills", "Containers killed per minute, by kind.", "none",
				"{{kind}}", `label_replace(60 * sum by (kind) (rate(estiba_manager_kills_total{mode="live", outcome="done", `+sel+`}[$__rate_interval])), "kind", "unknown", "kind", "")`))),
			empty(graph(box(12, 8), "Spared", "Decisions per minute to spare a container, by reason.", "none",
				"{{reason}}", `60 * sum by (reason) (rate(estiba_manager_decisions_total{decision="spare", `+sel+`}[$__rate_interval])) > 0`), "nothing spared", NoContainer),
			ofContainers(kinds(stacked(graph(box(8, 8), "Containers in scope", "Containers that the policy may kill, by kind.", "none",
				"{{kind}}", `label_replace(sum by (kind) (estiba_manager_containers{`+sel+`}) > 0, "kind", "unknown", "kind", "")`)))),
			empty(graph(box(8, 8), "Ticks", "Ticks per minute, by result.", "none",
				"{{result}}", `60 * sum by (result) (rate(estiba_manager_ticks_total{`+sel+`}[$__rate_interval])) > 0`), "no ticks yet", ""),
			empty(graph(box(8, 8), "Kill outcomes", "Kills per minute, by outcome.", "none",
				"{{outcome}}", `60 * sum by (outcome) (rate(estiba_manager_kills_total{`+sel+`}[$__rate_interval])) > 0`), "no kills", asked),
			graph(box(12, 9), "Tick duration", "Mean time from the start of a tick to its decision.", "s",
				"mean", `sum(rate(estiba_manager_tick_duration_seconds_sum{`+sel+
					`}[$__rate_interval])) / sum(rate(estiba_manager_tick_duration_seconds_count{`+sel+`}[$__rate_interval]))`),
			empty(graph(box(12, 9), "Kill duration", "Mean time from intent to outcome, of kills in the last five minutes.", "s",
				"mean", `sum(increase(estiba_manager_kill_duration_seconds_sum{`+sel+
					`}[5m])) / (sum(increase(estiba_manager_kill_duration_seconds_count{`+sel+`}[5m])) > 0)`),
				"no kills in five minutes", asked),
			kills,
			protected,
		})
}

// outcomeWords colours failures.
var outcomeWords = []wordFor{
	{"done", "done", "green"},
	{"already_gone", "already_gone", "text"},
	{"refused", "refused", "text"},
	{"dry_run", "dry_run", "text"},
	{"failed", "failed", "red"},
	{"unknown", "unknown", "red"},
	{"no_record", "no_record", "red"},
}

// orNever shows "never" for the time since 1970, which means that it never happened.
func orNever(p Panel) Panel {
	p.FieldConfig.Defaults.Mappings = append(p.FieldConfig.Defaults.Mappings, map[string]any{
		"type": "range",
		"options": map[string]any{"from": 1e9, "to": 1e12, "result": map[string]any{
			"text": "never", "color": "red",
			"index": len(p.FieldConfig.Defaults.Mappings),
		}},
	})
	return p
}
