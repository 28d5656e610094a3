package run

import (
	"net/url"
	"strings"

	"github.com/go-kit/log/level"

	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/status"
)

// auditFailed counts and logs a failed write of the audit file.
func (a *App) auditFailed(err error, about ...any) {
	a.metrics.AuditFailed()
	level.Error(a.o.Logger).Log(append(append([]any{"msg", "writing the audit file failed"}, about...), "err", err)...)
}

func keyvals(rec audit.Record) []any {
	kv := []any{
		"kill_id", rec.KillID, "outcome", rec.Outcome, "mode", rec.Mode, "action", rec.Action, "rule", rec.Rule,
		"kind", rec.Kind, "container", rec.Container, "name", rec.Name, "image", rec.Image, "value", rec.Value, "reason", rec.Reason,
	}
	if rec.Guard != "" {
		kv = append(kv, "guard", rec.Guard)
	}
	if rec.Veto != nil {
		kv = append(kv, "silence", strings.Join(rec.Veto.Silences, " "), "created_by", rec.Veto.CreatedBy)
	}
	if rec.Found != "" {
		kv = append(kv, "found", rec.Found)
	}
	if rec.Error != "" {
		kv = append(kv, "err", rec.Error)
	}
	return append(kv, "duration", rec.Duration)
}

// logRelief logs when rules stop and resume.
func (a *App) logRelief(t status.Tick) {
	for _, r := range t.Rules {
		if r.Relief.Stopped == a.stopped[r.Name] {
			continue
		}
		a.stopped[r.Name] = r.Relief.Stopped
		if r.Relief.Stopped {
			level.Warn(a.o.Logger).Log("msg", "rule stopped: its kills brought no relief", "rule", r.Name, "kills_without_relief", r.Relief.Unrelieved)
		} else {
			level.Info(a.o.Logger).Log("msg", "rule resumed", "rule", r.Name)
		}
	}
}

// logOnce logs begin and end of conditions that no tick result shows.
func (a *App) logOnce() {
	if names := strings.Join(a.gatherer.UnresolvedTargets(), " "); names != a.unresolved {
		a.unresolved = names
		if names != "" {
			level.Warn(a.o.Logger).Log("msg", "unresolved scrape targets, sparing containers with a network", "targets", names)
		} else {
			level.Info(a.o.Logger).Log("msg", "all scrape targets resolved")
		}
	}
	if err := a.audit.RotationError(); (err != nil) != a.unrotated {
		a.unrotated = err != nil
		if err != nil {
			level.Warn(a.o.Logger).Log("msg", "rotating the audit file failed", "file", a.o.AuditFile, "err", err)
		}
	}
}

// logTick logs when the result of ticks changes.
func (a *App) logTick(t status.Tick) {
	for _, r := range t.Rules {
		if r.Error != "" {
			level.Debug(a.o.Logger).Log("msg", "unusable query result", "rule", r.Name, "err", r.Error)
		}
	}
	if t.Result == a.lastResult {
		return
	}
	a.lastResult = t.Result
	if t.Result == gather.TickOK {
		level.Info(a.o.Logger).Log("msg", "ticks succeed again")
		return
	}
	level.Warn(a.o.Logger).Log("msg", "tick skipped", "result", t.Result, "err", t.Error)
}

func (a *App) logReload(err error) {
	if err != nil {
		level.Error(a.o.Logger).Log("msg", "reloading the policy failed, keeping the previous one", "err", err)
		return
	}
	level.Info(a.o.Logger).Log("msg", "policy reloaded", "policy", config.PolicyName(a.o.ConfigFile))
}

// ReloadAndLog handles SIGHUP.
func (a *App) ReloadAndLog() { a.logReload(a.Reload()) }

// redacted is a URL without its password.
func redacted(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Redacted()
}
