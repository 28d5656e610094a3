#!/usr/bin/env bash
# `make test`: installs what the tests need, then runs every suite that fits
# in a quarter of an hour on two cores. It stops at the first suite that
# fails; the last line says so or says that all passed.
set -euo pipefail
cd "$(dirname "$0")/.."

# From here on a test that cannot run on this machine is a failure.
export ESTIBA_TEST_ALL=1
# As the programs are built, so that nothing is compiled twice.
export CGO_ENABLED=0 GOFLAGS=-trimpath

suites=0
suite() {
    local title=$1 started=$SECONDS
    shift
    printf '\n== %s\n' "$title"
    if ! "$@"; then
        printf '\n== FAILED: %s\n%d passed, 1 failed\n' "$title" "$suites"
        exit 1
    fi
    suites=$((suites + 1))
    printf '== %s: passed in %d s\n' "$title" $((SECONDS - started))
}

formatted() {
    local wrong
    wrong=$(git ls-files '*.go' | xargs -r gofmt -l)
    if [ -n "$wrong" ]; then
        printf 'gofmt would change:\n%s\n' "$wrong"
        return 1
    fi
    go vet ./... && (cd tools && go vet ./run)
}

unit() {
    # The whole-system test has a suite of its own below, the fleet in make
    # test-fleet. Four packages at a time: most of them wait for containers, not
    # for the processor.
    local packages
    packages=$(go list ./... | grep -v -e '/test/docker$' -e '/test/fleet$')
    # shellcheck disable=SC2086
    test/with-docker.sh go test -p 4 -timeout 12m $packages || return 1
    # Modules of their own, so that what they need is not among our dependencies.
    (cd tools && go test ./run) && (cd tools/compose && go test ./...) && (cd test/compose && go test -run TestFile .) &&
        (cd tools/licences && go test .) && make -s licences && (cd tools/vulncheck && go test .)
}

# Packages come over the network while the cores compile.
prepare() {
    local install
    test/setup.sh &
    install=$!
    tools/build.sh prometheus promtool alertmanager amtool && make -s build || {
        wait "$install" || true
        return 1
    }
    wait "$install"
}

suite "our programs, pinned tools, and what the tests need" prepare
suite "format and vet" formatted
suite "unit tests, rules, contract, borders, licences, with a Docker Engine" unit
suite "json writer in user space, with sanitizers" make -s -C kmod/tests
suite "kernel module in QEMU" test/qemu/run.sh
suite "the whole way of the data, on real containers" go test -count=1 -v -parallel 4 -timeout 10m ./test/docker/

printf '\n%d passed, 0 failed\n' "$suites"
