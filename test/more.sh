#!/usr/bin/env bash
# The suites for which .ci/run has no time: before a release, or after a change to what they
# test. All are run, whatever fails.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=suite.sh
. test/suite.sh

suite make test-oldest
suite make test-kernels KERNELS="bookworm-rt bookworm-6.12 bookworm-arm64 bookworm-6.12-arm64-16k"
suite make test-headers
suite make test-compose
suite make test-kubernetes
suite make test-fleet
suite make test-victoriametrics
suite make test-vm-runtimes
suite make test-vm-kubernetes
suite make test-release
summary
