// Package testutil contains helpers for tests.
package testutil

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
)

// Need is a requirement of a test on the machine.
type Need string

// The requirements. Any other Need is the name of a program.
const (
	Root   Need = "root"
	Docker Need = "a Docker Engine at the default socket" // not the command docker
)

// Require skips the test on a machine that lacks one of needs. It fails the test instead
// if the environment variable CI or ESTIBA_TEST_ALL is set.
func Require(t *testing.T, needs ...Need) {
	t.Helper()
	for _, need := range needs {
		if err := lacks(need); err != nil {
			if os.Getenv("CI") != "" || os.Getenv("ESTIBA_TEST_ALL") != "" {
				t.Fatalf("required here: %s: %v", need, err)
			}
			t.Skipf("needs %s: %v", need, err)
		}
	}
}

// Long skips a test that takes minutes, unless the environment variable ESTIBA_TEST_LONG
// is set. Such tests are named TestLong…; make test-long runs them.
func Long(t *testing.T) {
	t.Helper()
	if os.Getenv("ESTIBA_TEST_LONG") == "" {
		t.Skip("takes minutes: make test-long")
	}
}

func lacks(need Need) error {
	switch need {
	case Root:
		if os.Geteuid() != 0 {
			return os.ErrPermission
		}
		return nil
	case Docker:
		c, err := dockerclient.New("")
		if err != nil {
			return err
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return c.Ping(ctx)
	}
	_, err := exec.LookPath(string(need))
	return err
}
