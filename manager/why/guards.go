package why

import (
	"fmt"
	"strings"
	"time"

	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/units"
)

// guardTexts are the guards as the rest of a sentence.
var guardTexts = map[policy.Reason]string{
	policy.NoData:                  "its sample is unusable",
	policy.ForeignRuntime:          "something else than the manager's Engine runs it",
	policy.AlreadyGone:             "Docker does not list it as running, or another rule kills it in this tick",
	policy.DryRunDone:              "a dry run of the rule has recorded this life already",
	policy.Transitional:            "it is paused, restarting, being removed or being killed",
	policy.OutOfScope:              "the policy's scope is managed, and it has no label estiba.managed=true",
	policy.Protected:               "it is protected",
	policy.UnknownKind:             "a keep rule counts kinds, and it declares none",
	policy.StaleSample:             "the data are too old",
	policy.SampleOlderThanLastKill: "the data are older than the last kill, so they cannot show its effect",
	policy.Restarted:               "the sample is of an earlier life",
	policy.WindowNotFilled:         "there is less history than the query looks back",
	policy.ClockSet:                "the rule has a schedule, and the clock was set a short time ago",
	policy.OutOfSchedule:           "the rule is outside its schedule",
	policy.PendingFor:              "the rule's for has not passed",
	policy.CoolingDown:             "the rule's cooldown has not passed",
	policy.NoRelief:                "the rule's last kills brought no relief, or that is unknown",
	policy.LastOfKind:              "a keep rule by kind needs it",
	policy.UnknownGroup:            "a keep rule may need it: what the rule counts by is unknown of it",
	policy.LastOfGroup:             "a keep rule needs it",
	policy.BudgetSpent:             "the kills of this tick are used up by containers before it",
	policy.KillsUnknown:            "kills are limited per hour, and some of the last hour may be missing in the audit log",
	policy.HourlyBudgetSpent:       "the kills of the last hour are used up",
	policy.NoVetoAnswer:            "the rule announces its kills, and Alertmanager did not answer",
	policy.Vetoed:                  "a silence in Alertmanager vetoes it",
	policy.Announced:               "the rule's announce has not passed",
	policy.LabelsUnknown:           "the exporter does not know its name, image and labels",
	policy.InFlight:                "kills of the rule that are in flight use up its max_kills",
	policy.PassedOver:              "a kill of it by the rule was refused or failed a short time ago",
	policy.PolicyReplaced:          "the policy was reloaded",
	policy.Stopping:                "the manager was shutting down",
}

func guardText(r policy.Reason) string {
	if text, known := guardTexts[r]; known {
		return text
	}
	return "this version does not know the reason"
}

// of are the decisions about a container.
func (t *Tick) of(id string) (list []policy.Decision) {
	for _, d := range t.Plan.Decisions {
		if d.Container.ID == id {
			list = append(list, d)
		}
	}
	return list
}

// sentences describe the decision about a life.
func (t *Tick) sentences(l Life) []string {
	var list []string
	if t.Past {
		list = append(list, fmt.Sprintf("Over Prometheus' history from %s on, the policy %s decides at %s:", clock(t.From), t.Name, clock(t.Time)))
	} else {
		list = append(list, "The policy "+t.Name+" decides now:")
	}
	if t.Error != "" {
		list = append(list, capital(list, "nothing is killed in this tick ("+strings.TrimSpace(t.Error)+")."))
	}
	decisions := t.of(l.ID)
	if len(decisions) == 0 {
		return append(list, capital(list, t.missing()+"."))
	}
	var asked []string
	selected := map[string]bool{}
	for _, d := range decisions {
		if d.Rule != "" {
			selected[d.Rule] = true
			list = append(list, capital(list, t.sentence(d)))
		}
	}
	for _, r := range t.Policy.Rules {
		name := r.Config.Name
		switch {
		case selected[name]:
		case t.unusable(name):
			list = append(list, capital(list, t.unknown(name)))
		default:
			asked = append(asked, name)
		}
	}
	if len(asked) > 0 {
		list = append(list, capital(list, notSelected(asked, len(asked) == len(t.Policy.Rules))))
	}
	return append(list, t.facts(decisions[0]))
}

// missing: the decision was made without the container.
func (t *Tick) missing() string {
	if t.Past {
		return "unknown, since Prometheus' history does not have this container at that time"
	}
	return "unknown, since Docker does not list it any more"
}

// capital begins a sentence, unless the list ends with a colon.
func capital(list []string, s string) string {
	if len(list) > 0 && strings.HasSuffix(list[len(list)-1], ":") || s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func notSelected(rules []string, all bool) string {
	names := strings.Join(rules, ", ")
	switch {
	case all && len(rules) == 1:
		return "the only rule, " + names + ", does not select it."
	case all:
		return "no rule selects it (" + names + ")."
	case len(rules) == 1:
		return "rule " + names + " does not select it."
	}
	return "the rules " + names + " do not select it."
}

// unusable reports whether the result of a rule's query cannot be used.
func (t *Tick) unusable(rule string) bool {
	for _, d := range t.Plan.Decisions {
		if d.Rule == rule && d.Container.ID == "" && d.Reason == policy.NoData {
			return true
		}
	}
	return false
}

func (t *Tick) unknown(rule string) string {
	text := "whether rule " + rule + " selects it is unknown: the result of its query is unusable"
	if err := strings.TrimSpace(t.Errors[rule]); err != "" && !strings.Contains(t.Error, err) {
		text += " (" + err + ")"
	}
	return text + "."
}

// facts are what spares a container whatever the rules select.
func (t *Tick) facts(d policy.Decision) string {
	if d.Reason != policy.NotSelected {
		return ""
	}
	keep := []policy.Keep{}
	for _, k := range t.Policy.Config.Keep {
		if k.By == config.KeepByKind {
			keep = append(keep, policy.Keep{Min: k.Min})
		}
	}
	if r := policy.CheckNow(d.Container, keep); r != "" {
		return fmt.Sprintf("If one did, it would be spared as %s: %s%s.", r, guardText(r), protection(d.Container))
	}
	return ""
}

func protection(c policy.Container) string {
	if len(c.Protected) == 0 {
		return ""
	}
	words := make([]string, len(c.Protected))
	for i, p := range c.Protected {
		words[i] = string(p)
	}
	return " (" + strings.Join(words, ", ") + ")"
}

// value formats a value of a rule.
func (t *Tick) value(rule string, v float64) string {
	if r := t.Policy.Rule(rule); r != nil {
		return value(v, r.Config.Query)
	}
	return value(v, "")
}

// sentence is the decision of one rule.
func (t *Tick) sentence(d policy.Decision) string {
	head := fmt.Sprintf("rule %s selects it with the value %s (rank %d)", d.Rule, t.value(d.Rule, d.Value), d.Rank)
	r := t.Policy.Rule(d.Rule)
	switch {
	case d.Choice == policy.Kill && r.Policy.Mode == policy.DryRun:
		return head + ", and no guard spares it; the rule is a dry run: its kill is recorded " + t.next() + ", and nothing is done."
	case d.Choice == policy.Kill:
		return head + ", and no guard spares it: it is killed " + t.next() + " (action " + string(r.Config.Action) + ")."
	}
	text := head + ", and it is spared as " + string(d.Reason) + ": " + guardText(d.Reason)
	if d.Reason == policy.Protected {
		text += protection(d.Container)
	}
	return text + t.until(*r, d) + "."
}

// next is when a kill that is decided happens.
func (t *Tick) next() string {
	if t.Past {
		return "then"
	}
	return "in the next tick"
}

// until says when a spared candidate may be killed, as far as that is known.
func (t *Tick) until(r gather.Rule, d policy.Decision) string {
	left := func(of string, whole time.Duration) string {
		if d.Wait <= 0 {
			return ""
		}
		return fmt.Sprintf("; %s of its %s of %s remain, until %s", length(d.Wait), of, length(whole), clock(t.Time.Add(d.Wait)))
	}
	switch d.Reason {
	case policy.PendingFor:
		return t.counted("for", r.Config.For, left)
	case policy.Announced:
		return t.counted("announce", r.Config.Announce, left)
	case policy.CoolingDown:
		return left("cooldown", r.Config.Cooldown)
	case policy.OutOfSchedule:
		return ", " + d.Detail
	case policy.KillsUnknown:
		return ", until " + clock(t.Time.Add(d.Wait))
	case policy.HourlyBudgetSpent:
		if d.Wait > 0 {
			return ", until " + clock(t.Time.Add(d.Wait)) + " if nothing else is killed"
		}
		return " by kills in flight"
	case policy.LastOfKind:
		return t.keep(d.Container)
	case policy.LastOfGroup:
		return " (by " + d.Detail + "); it may be killed when more of this group run"
	case policy.UnknownGroup:
		return " (by " + d.Detail + ")"
	case policy.BudgetSpent:
		most := fmt.Sprintf(" (max_kills %d, max_kills_per_tick %d)", r.Config.MaxKills, t.Policy.Config.MaxKillsPerTick)
		return most + "; it is considered again in the next tick"
	case policy.NoRelief:
		if at, known := t.Resumes[d.Rule]; known {
			return "; the rule tries once more at " + clock(at)
		}
	case policy.PassedOver:
		return fmt.Sprintf("; the rule passes over it for %s, or until the manager is started again", length(policy.PassOver))
	}
	return ""
}

// counted is what remains of a time that counts from tick to tick. One decision has no
// memory of the ticks before it.
func (t *Tick) counted(key string, whole time.Duration, left func(string, time.Duration) string) string {
	if t.Past {
		return left(key, whole)
	}
	return fmt.Sprintf("; how much remains of its %s of %s is known to the running manager only, see its status page", key, length(whole))
}

// keep names the keep rules by kind.
func (t *Tick) keep(c policy.Container) string {
	for _, k := range t.Policy.Config.Keep {
		if k.By == config.KeepByKind {
			return fmt.Sprintf(" ({by: kind, min: %d}); it may be killed when more than %d of kind %s run", k.Min, k.Min, c.Kind)
		}
	}
	return ""
}

func length(d time.Duration) string { return units.Length(d.Seconds()) }
