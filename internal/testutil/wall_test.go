package testutil

import (
	"testing"
	"time"
)

func TestStepWall(t *testing.T) {
	now := time.Now()
	moved := StepWall(now, -time.Hour)
	if moved.Sub(now) != 0 || moved.Round(0).Sub(now.Round(0)) != -time.Hour {
		t.Fatalf("%s became %s: monotonic %s, wall %s", now, moved, moved.Sub(now), moved.Round(0).Sub(now.Round(0)))
	}
}
