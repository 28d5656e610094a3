package stack

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/estiba/estiba/internal/testutil"
)

// RecordLine is what tests look at of a line of the manager's record.
type RecordLine struct {
	KillID  string `json:"kill_id"`
	Phase   string `json:"phase"`
	ID      string `json:"container"`
	Name    string `json:"name"`
	Outcome string `json:"outcome"`
	Error   string `json:"error"`
}

// RecordLines reads the manager's record of acts: what is carried over restarts, the
// phases state and relief, is not among it.
func (s *Stack) RecordLines(t *testing.T) []RecordLine {
	t.Helper()
	data, err := os.ReadFile(s.Record)
	if err != nil {
		t.Fatal(err)
	}
	var lines []RecordLine
	for _, text := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		if text == "" {
			continue
		}
		var l RecordLine
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("record line %q: %v", text, err)
		}
		if l.Phase != "state" && l.Phase != "relief" {
			lines = append(lines, l)
		}
	}
	return lines
}

// RecordIsWhole checks that somebody was killed, and that each kill has one
// intent and, after it, one outcome. A container is gone a moment before that
// is written.
func (s *Stack) RecordIsWhole(t *testing.T) {
	t.Helper()
	var faults []string
	testutil.Eventually(t, s.Patience, "each intent in the record has its outcome", func() bool {
		intents, outcomes := map[string]int{}, map[string]int{}
		faults = nil
		for _, l := range s.RecordLines(t) {
			switch l.Phase {
			case "intent":
				intents[l.KillID]++
				if l.ID == "" || l.Name == "" || intents[l.KillID] != 1 {
					faults = append(faults, fmt.Sprintf("intent without a container, or twice: %+v", l))
				}
			case "outcome":
				outcomes[l.KillID]++
				if intents[l.KillID] != 1 || outcomes[l.KillID] != 1 {
					faults = append(faults, fmt.Sprintf("outcome without its one intent before it: %+v", l))
				}
			}
		}
		return len(intents) > 0 && len(intents) == len(outcomes)
	})
	for _, f := range faults {
		t.Error(f)
	}
}
