package status

// Descriptor is one metric that the manager publishes.
type Descriptor struct {
	Name   string
	Type   string // counter, gauge or histogram
	Help   string
	Labels []string // in the order of the values; nil is none
}

// The metrics' names.
const (
	nameTicks         = "estiba_manager_ticks_total"
	nameTickDuration  = "estiba_manager_tick_duration_seconds"
	nameLastSuccess   = "estiba_manager_last_success_timestamp_seconds"
	nameDataAge       = "estiba_manager_data_age_seconds"
	nameDecisions     = "estiba_manager_decisions_total"
	nameKills         = "estiba_manager_kills_total"
	nameKillDuration  = "estiba_manager_kill_duration_seconds"
	nameRecentKill    = "estiba_manager_recent_kill_timestamp_seconds"
	namePending       = "estiba_manager_kill_pending_timestamp_seconds"
	nameDecided       = "estiba_manager_container_decision"
	nameContainers    = "estiba_manager_containers"
	nameProtected     = "estiba_manager_protected"
	nameBudget        = "estiba_manager_kill_budget_remaining"
	nameDryRun        = "estiba_manager_dry_run"
	nameRelief        = "estiba_manager_kill_relief_ratio"
	nameUnrelieved    = "estiba_manager_kills_without_relief"
	nameStopped       = "estiba_manager_rule_stopped"
	nameAuditFailures = "estiba_manager_audit_append_failures_total"
	nameReload        = "estiba_manager_config_last_reload_successful"
	nameBuildInfo     = "estiba_manager_build_info"
)

// Descriptors returns every metric of the manager's own, in the order of the
// documentation. Metrics of the Go runtime and the process are not among them.
func Descriptors() []Descriptor {
	return []Descriptor{
		{nameTicks, "counter", "Ticks by how they ended: ok, no_fresh_data, prometheus_error, docker_error, config_error.", []string{"result"}},
		{nameTickDuration, "histogram", "Time from the start of a tick to its decision.", nil},
		{nameLastSuccess, "gauge", "Unix time of the last tick that ended ok; 0 before the first.", nil},
		{nameDataAge, "gauge", "Age of the exporter's snapshot at the last tick; NaN when there was none.", nil},
		{nameDecisions, "counter", "Verdicts on containers, one per rule and candidate in each tick; rule is empty for containers that no rule names.", []string{"rule", "decision", "reason"}},
		{nameKills, "counter", "Orders to kill that have ended, by outcome.", []string{"rule", "kind", "mode", "outcome"}},
		{nameKillDuration, "histogram", "Time from the intent to the outcome of live kills that were done.", nil},
		{nameRecentKill, "gauge", "Unix time of each of the last kills, at most 50.", []string{"kill_id", "rule", "kind", "id", "name", "mode", "outcome"}},
		{namePending, "gauge", "Unix time before which an announced kill is not made, as far as is known now; vetoed ones too. At most 200.", []string{"rule", "kind", "id", "name"}},
		{nameDecided, "gauge", "1 for what the last tick decided about each container, as the status page shows it; none after a tick that could not decide. At most 2,000, the chosen ones first.", []string{"id", "name", "rule", "decision", "reason"}},
		{nameRelief, "gauge", "Share of a rule's pressure that the last kills took away, measured on a newer sample: 1 all, 0 nothing, below 0 when it grew.", []string{"rule", "kind"}},
		{nameUnrelieved, "gauge", "Kills of a rule in a row that brought no relief; those of one tick count as one.", []string{"rule"}},
		{nameStopped, "gauge", "1 when the rule has stopped itself because its kills brought no relief, else 0.", []string{"rule"}},
		{nameContainers, "gauge", "Containers in scope in the Engine's list at the last tick.", []string{"kind", "state"}},
		{nameProtected, "gauge", "1 for each reason that a container is never acted on.", []string{"id", "name", "why"}},
		{nameBudget, "gauge", "What was left of max_kills_per_tick after the last tick.", nil},
		{nameDryRun, "gauge", "1 when no rule can kill, else 0.", nil},
		{nameAuditFailures, "counter", "Records that could not be written; each intent among them is a kill that was not made.", nil},
		{nameReload, "gauge", "1 when the last load of the policy file was accepted, else 0.", nil},
		{nameBuildInfo, "gauge", "1, with what the program was built from.", []string{"version", "revision", "goversion"}},
	}
}
