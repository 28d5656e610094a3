package status

// Descriptor is one metric of the manager.
type Descriptor struct {
	Name   string
	Type   string // counter, gauge or histogram
	Help   string
	Labels []string // in the order of the values
}

// The names of the metrics.
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

// Descriptors returns all metrics of the manager, in the order of the documentation,
// without those of the Go runtime and the process.
func Descriptors() []Descriptor {
	return []Descriptor{
		{nameTicks, "counter", "Ticks by how they ended: ok, no_fresh_data, prometheus_error, docker_error, config_error.", []string{"result"}},
		{nameTickDuration, "histogram", "Time from the start of a tick to its decisions.", nil},
		{nameLastSuccess, "gauge", "Unix time of the last tick with result ok; 0 before the first.", nil},
		{nameDataAge, "gauge", "Age of the exporter's snapshot at the last tick; NaN if there was none.", nil},
		{nameDecisions, "counter", "Decisions, one per rule and candidate in each tick; rule is empty for containers that are no candidates.", []string{"rule", "decision", "reason"}},
		{nameKills, "counter", "Kills that have ended, by outcome.", []string{"rule", "kind", "mode", "outcome"}},
		{nameKillDuration, "histogram", "Time from the intent to the outcome of successful live kills.", nil},
		{nameRecentKill, "gauge", "Unix time of each of the last kills, at most 50.", []string{"kill_id", "rule", "kind", "id", "name", "mode", "outcome"}},
		{namePending, "gauge", "Unix time before which an announced kill is not made, as far as known; vetoed kills included. At most 200.", []string{"rule", "kind", "id", "name"}},
		{nameDecided, "gauge", "1 for the decision of the last tick about each container, as on the status page; absent after a skipped tick. At most 2,000, kills first.", []string{"id", "name", "rule", "decision", "reason"}},
		{nameRelief, "gauge", "Share by which the last kills lowered a rule's relief value, measured on a newer sample: 1 all, 0 nothing, below 0 if it grew.", []string{"rule", "kind"}},
		{nameUnrelieved, "gauge", "Consecutive kills of a rule without relief; those of one tick count as one.", []string{"rule"}},
		{nameStopped, "gauge", "1 if the rule has stopped because its kills brought no relief, else 0.", []string{"rule"}},
		{nameContainers, "gauge", "Containers in scope at the last tick, by kind and state.", []string{"kind", "state"}},
		{nameProtected, "gauge", "1 for each reason why a container is protected. At most 2,000.", []string{"id", "name", "why"}},
		{nameBudget, "gauge", "Kills left of max_kills_per_tick after the last tick.", nil},
		{nameDryRun, "gauge", "1 if no rule can kill, else 0.", nil},
		{nameAuditFailures, "counter", "Audit records that could not be written; without its intent a kill is not made.", nil},
		{nameReload, "gauge", "1 if the last load of the policy file succeeded, else 0.", nil},
		{nameBuildInfo, "gauge", "1, with the version in labels.", []string{"version", "revision", "goversion"}},
	}
}
