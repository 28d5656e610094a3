package policy

// Reason is why a container is killed or spared: one closed list, with the same words
// in metrics, log, audit log, JSON and status page.
type Reason string

// The two reasons that are not a guard's.
const (
	Chosen      Reason = "chosen"       // a candidate that no guard spares
	NotSelected Reason = "not_selected" // no candidate of any rule
)

// The reasons of the guards.
const (
	NoData                  Reason = "no_data"                     // unusable query result, or unusable sample
	ForeignRuntime          Reason = "foreign_runtime"             // run by something else than the manager's Engine, or by Kubernetes
	AlreadyGone             Reason = "already_gone"                // not running, or killed by another rule in this tick
	DryRunDone              Reason = "dry_run_done"                // a dry run of this rule has "killed" it already
	Transitional            Reason = "transitional"                // paused, restarting, being removed or being killed
	OutOfScope              Reason = "out_of_scope"                // not labelled estiba.managed=true under scope managed
	Protected               Reason = "protected"                   // see Protection
	UnknownKind             Reason = "unknown_kind"                // a keep rule by kind needs the kind and the container declares none
	StaleSample             Reason = "stale_sample"                // data older than max_sample_age, or of a failed scrape
	SampleOlderThanLastKill Reason = "sample_older_than_last_kill" // the data cannot show the effect of the last kill yet
	Restarted               Reason = "restarted"                   // sample of an earlier life of the container
	WindowNotFilled         Reason = "window_not_filled"           // less history than the query's range
	ClockSet                Reason = "clock_set"                   // the rule has a schedule, and the clock was set a short time ago
	OutOfSchedule           Reason = "out_of_schedule"             // the rule may not kill at this time
	PendingFor              Reason = "pending_for"                 // the rule's for has not passed
	CoolingDown             Reason = "cooling_down"                // the rule's cooldown has not passed
	NoRelief                Reason = "no_relief"                   // the rule stopped: its last kills brought no relief, or the relief value is unknown
	LastOfKind              Reason = "last_of_kind"                // a keep rule by kind would no longer hold
	UnknownGroup            Reason = "unknown_group"               // a keep rule might no longer hold: what it counts by is unknown of the container
	LastOfGroup             Reason = "last_of_group"               // a keep rule by image, name, compose service or label would no longer hold
	BudgetSpent             Reason = "budget_spent"                // max_kills or max_kills_per_tick reached
	KillsUnknown            Reason = "kills_unknown"               // there is a limit per hour, and kills of the last hour may be missing in the audit log
	HourlyBudgetSpent       Reason = "hourly_budget_spent"         // max_kills_per_hour of the rule or of all reached
	NoVetoAnswer            Reason = "no_veto_answer"              // the rule announces and Alertmanager did not answer
	Vetoed                  Reason = "vetoed"                      // a silence in Alertmanager matches the announcement
	Announced               Reason = "announced"                   // announce has not passed since Alertmanager holds the announcement
	LabelsUnknown           Reason = "labels_unknown"              // the exporter does not know the name, image and labels, so queries cannot make exceptions
	InFlight                Reason = "in_flight"                   // kills of this rule in flight use up its max_kills
	PassedOver              Reason = "passed_over"                 // a kill of this life was refused or failed recently
)

// The reasons that are given only at the kill.
const (
	PolicyReplaced Reason = "policy_replaced" // the policy was reloaded since the decision
	Stopping       Reason = "stopping"        // the manager is shutting down
)

// Guards returns the reasons a guard can give, in the order of the guards.
func Guards() []Reason {
	all := guards()
	reasons := make([]Reason, len(all))
	for i, g := range all {
		reasons[i] = g.reason
	}
	return reasons
}

// Protection is why a container is protected.
type Protection string

// The closed list of protections.
const (
	ProtectedByLabel          Protection = "label"           // estiba.protect
	ProtectedByLabelError     Protection = "label_error"     // invalid estiba. label: the intention is unknown
	ProtectedBySelf           Protection = "self"            // the manager's own container
	ProtectedByComposeProject Protection = "compose_project" // in the manager's compose project
	ProtectedByPod            Protection = "pod"             // in the manager's Podman pod
	ProtectedByPodInfra       Protection = "pod_infra"       // holds the namespaces of a Podman pod
	ProtectedByMonitoring     Protection = "monitoring"      // org.label-schema.group=monitoring
	ProtectedByScrapeTarget   Protection = "scrape_target"   // Prometheus scrapes it
	ProtectedByAlertmanager   Protection = "alertmanager"    // Prometheus notifies it
	ProtectedByPrometheus     Protection = "prometheus"      // the Prometheus that the manager queries
	ProtectedByTargetUnknown  Protection = "target_unknown"  // a scrape target or Alertmanager whose name has never resolved: it may be this container
	ProtectedByImageUnknown   Protection = "image_unknown"   // protect.images is set and the image is unknown
	ProtectedByPolicyName     Protection = "policy_name"     // the policy's protect.names
	ProtectedByPolicyImage    Protection = "policy_image"    // the policy's protect.images
	ProtectedByPolicyLabel    Protection = "policy_label"    // the policy's protect.labels
)

// Choice is kill or spare.
type Choice string

// The two choices.
const (
	Kill  Choice = "kill"
	Spare Choice = "spare"
)
