package testutil

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Before reports whether a program of the Prometheus project is older than the release
// ("0.26"), according to its --version. Tests also run with releases other than the pinned
// ones: see Tool.
func Before(t *testing.T, program, release string) bool {
	t.Helper()
	out, err := exec.Command(program, "--version").CombinedOutput()
	if err != nil {
		t.Fatalf("%s --version: %v\n%s", program, err, out)
	}
	older, err := before(string(out), release)
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	return older
}

var version = regexp.MustCompile(`version v?(\d+)\.(\d+)`)

func before(output, release string) (bool, error) {
	found := version.FindStringSubmatch(output)
	major, minor, ok := strings.Cut(release, ".")
	if found == nil || !ok {
		return false, fmt.Errorf("no release in %q or %q", output, release)
	}
	var numbers [4]int
	for i, text := range []string{found[1], found[2], major, minor} {
		n, err := strconv.Atoi(text)
		if err != nil {
			return false, err
		}
		numbers[i] = n
	}
	return numbers[0] < numbers[2] || numbers[0] == numbers[2] && numbers[1] < numbers[3], nil
}
