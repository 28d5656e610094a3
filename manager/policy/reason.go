package policy

// Reason is why a container is killed or spared: one closed vocabulary, the
// same words in metrics, log, record, JSON and status page.
type Reason string

// The two reasons that are no guard's.
const (
	Chosen      Reason = "chosen"       // a rule wants it and no guard refuses
	NotSelected Reason = "not_selected" // no rule's query names it
)

// What the guards say when they refuse.
const (
	NoData                 Reason = "no_data"                     // the rule's answer, or this row of it, cannot be used
	AlreadyGone            Reason = "already_gone"                // does not run any more, or another rule takes it in this tick
	DryRunDone             Reason = "dry_run_done"                // a dry run of this rule has "killed" it already
	Transitional           Reason = "transitional"                // paused, restarting, being removed, or being killed right now
	OutOfScope             Reason = "out_of_scope"                // not labelled estiba.managed=true under scope managed
	Protected              Reason = "protected"                   // see Why
	UnknownKind            Reason = "unknown_kind"                // a keep rule needs the kind and the container declares none
	StaleSample            Reason = "stale_sample"                // the data are older than max_sample_age, or of a failed scrape
	SampleOlderThanLastAct Reason = "sample_older_than_last_kill" // the data cannot show yet what the last kill changed
	Restarted              Reason = "restarted"                   // the sample is of an earlier life of the container
	WindowNotFilled        Reason = "window_not_filled"           // less history than the query's range
	PendingFor             Reason = "pending_for"                 // the rule's for has not passed
	CoolingDown            Reason = "cooling_down"                // the rule's cooldown has not passed
	NoRelief               Reason = "no_relief"                   // the rule stopped itself: its last kills did not lower its pressure, or nobody knows the pressure
	LastOfKind             Reason = "last_of_kind"                // a keep rule would not hold any more
	BudgetSpent            Reason = "budget_spent"                // max_kills or max_kills_per_tick reached
	NoVetoAnswer           Reason = "no_veto_answer"              // the rule announces and Alertmanager did not say whether somebody objects
	Vetoed                 Reason = "vetoed"                      // somebody has silenced the announcement in Alertmanager
	Announced              Reason = "announced"                   // the rule's announce has not passed since Alertmanager holds the announcement
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

// Why is what protects a container.
type Why string

// The closed set of what protects.
const (
	WhyLabel          Why = "label"           // estiba.protect
	WhyLabelError     Why = "label_error"     // a label of Estiba's is misspelt: nobody knows what was meant
	WhySelf           Why = "self"            // the manager's own container
	WhyComposeProject Why = "compose_project" // in the manager's compose project
	WhyMonitoring     Why = "monitoring"      // org.label-schema.group=monitoring
	WhyScrapeTarget   Why = "scrape_target"   // Prometheus scrapes it
	WhyAlertmanager   Why = "alertmanager"    // Prometheus notifies it
	WhyPrometheus     Why = "prometheus"      // the Prometheus that the manager asks
	WhyPolicyName     Why = "policy_name"     // the policy's protect.names
	WhyPolicyImage    Why = "policy_image"    // the policy's protect.images
	WhyPolicyLabel    Why = "policy_label"    // the policy's protect.labels
)

// Verdict is what becomes of a container.
type Verdict string

// The two verdicts.
const (
	Kill  Verdict = "kill"
	Spare Verdict = "spare"
)
