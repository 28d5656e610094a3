package why

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/units"
)

// actions are what was done, and what was to be done.
var actions = map[string][2]string{
	"stop":   {"stopped it", "stop it"},
	"kill":   {"killed it with SIGKILL", "kill it with SIGKILL"},
	"remove": {"stopped and deleted it", "stop and delete it"},
	"pause":  {"paused it", "pause it"},
}

func (k Kill) did() string  { return actionText(k.Action, 0) }
func (k Kill) will() string { return actionText(k.Action, 1) }

func actionText(action string, form int) string {
	if text, known := actions[action]; known {
		return text[form]
	}
	return "carried out " + action
}

// lastKill is the kill that explains the state: the one that ended the life, else the
// last that had begun at a time.
func (l Life) lastKill(at time.Time) (Kill, bool) {
	begun := func(k Kill) bool { return at.IsZero() || !k.Begun.After(at) || k.ended() }
	for _, k := range slices.Backward(l.Kills) {
		if k.ended() && l.State != Running && l.State != Paused {
			return k, true
		}
	}
	for _, k := range slices.Backward(l.Kills) {
		if begun(k) {
			return k, true
		}
	}
	return Kill{}, false
}

// sentences describe the kill. over: so the life is over.
func (k Kill) sentences(over bool) []string {
	list := []string{k.decision()}
	list = append(list, k.result())
	if k.Outcome == audit.OutcomeDone {
		list = append(list, k.relief())
	}
	if over && !k.ended() {
		list = append(list, "The audit log has no kill that ended it.")
	}
	return list
}

// decision is why it was to be killed.
func (k Kill) decision() string {
	if k.Phase == audit.Vetoed {
		return fmt.Sprintf("At %s rule %s would have had the manager %s (value %s), and a silence vetoed it%s.",
			clock(k.Begun), k.Rule, k.will(), value(k.Value, k.Query), k.vetoText())
	}
	return fmt.Sprintf("Rule %s selected it at %s with the value %s, no guard spared it, and the action was %s (kill %s).",
		k.Rule, clock(k.Begun), value(k.Value, k.Query), k.Action, k.KillID)
}

// result is how the kill ended.
func (k Kill) result() string {
	switch {
	case k.Phase == audit.Vetoed:
		return ""
	case k.Phase == audit.Intent:
		return "The outcome is not recorded: the kill is in flight, or the manager exited during it."
	}
	switch k.Outcome {
	case audit.OutcomeDone:
		return fmt.Sprintf("The manager %s within %s, and Docker confirmed it.", k.did(), units.Length(k.Duration))
	case audit.OutcomeAlreadyGone:
		return "It had exited before the manager could " + k.will() + "."
	case audit.OutcomeRefused:
		return fmt.Sprintf("Immediately before the kill it was spared as %s: %s%s.", k.Guard, guardText(k.Guard), k.vetoText())
	case audit.OutcomeFailed:
		return "The kill failed at " + clock(k.Time) + ": " + strings.TrimSpace(k.Error) + "." + k.acted()
	case audit.OutcomeDryRun:
		return "It was a dry run: nothing was done to it."
	case audit.OutcomeNoRecord:
		return "The intent could not be written to the audit log, so nothing was done."
	case audit.OutcomeUnknown:
		return "The manager exited during the kill, so its outcome is unknown; " + foundText(k.Found) + " at " + clock(k.Time) + "."
	}
	return "Its outcome is " + string(k.Outcome) + "."
}

// acted says whether a failed kill can still have an effect.
func (k Kill) acted() string {
	if k.Acted {
		return " Docker had received the request, so it may still end."
	}
	return " Nothing was done to it."
}

func (k Kill) vetoText() string {
	if k.Veto == nil || len(k.Veto.Silences) == 0 {
		return ""
	}
	text := " (silence " + strings.Join(k.Veto.Silences, " ")
	if k.Veto.CreatedBy != "" {
		text += " by " + k.Veto.CreatedBy
	}
	if k.Veto.Comment != "" {
		text += ", comment: " + k.Veto.Comment
	}
	return text + ")"
}

func foundText(found audit.Found) string {
	switch found {
	case audit.FoundGone:
		return "the container was gone"
	case audit.FoundRunning:
		return "the container was running"
	case audit.FoundRestarted:
		return "the container had been started again"
	case audit.FoundPaused:
		return "the container was paused"
	}
	return "it is not recorded how the container was found"
}

// relief is what is recorded of the effect.
func (k Kill) relief() string {
	switch k.Relief {
	case Relieved:
		return "It brought relief: recorded at " + clock(k.ReliefAt) + "."
	case Unrelieved:
		return "It is not known to have brought relief by the rule's next kill at " + clock(k.ReliefAt) + "."
	case Stopped:
		return "It brought no relief, and the rule stopped at " + clock(k.ReliefAt) + "."
	}
	return "Whether it brought relief is not recorded."
}
