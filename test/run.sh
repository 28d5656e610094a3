#!/usr/bin/env bash
# `make test`: installs what the tests need, then runs every suite that fits
# in a quarter of an hour on two cores. It begins with what this machine cannot
# run, and leaves that out; with CI or ESTIBA_TEST_ALL set it fails instead. It
# stops at the first suite that fails; the last line says so or says that all
# passed. `test/run.sh --plan` stops after the beginning.
set -euo pipefail
cd "$(dirname "$0")/.."

# Suites that this machine may lack something for.
writer="json writer in user space, with sanitizers"
module="kernel module in QEMU"
whole="the whole way of the data, on real containers"
declare -A lacking=()

# lacks SUITE WHY
lacks() { lacking[$1]="${lacking[$1]:+${lacking[$1]}, }$2"; }

# shellcheck source=/dev/null
distribution=$(. "${ESTIBA_ROOT:-}/etc/os-release" 2>/dev/null && echo "${ID:-unknown}-${VERSION_ID:-}")
case $distribution in
debian-* | ubuntu-*) can_install=$([ "$(id -u)" -ne 0 ] || echo yes) ;;
*) can_install='' ;;
esac
engine=yes
docker_answers() { curl -fsS --max-time 5 --unix-socket /var/run/docker.sock http://docker/_ping >/dev/null 2>&1; }
if [ -z "$can_install" ] && { [ "$(id -u)" -ne 0 ] || ! command -v dockerd >/dev/null; } && ! docker_answers; then engine=; fi

[ "$(id -u)" -eq 0 ] || lacks "$whole" "needs root"
if [ -z "$can_install" ]; then
	[ -n "$engine" ] || lacks "$whole" "needs a Docker Engine"
	command -v gcc >/dev/null || lacks "$writer" "needs gcc"
fi
case $distribution-$(uname -m) in
debian-12-x86_64) [ -n "$can_install" ] || test/install.sh --check qemu-system-x86 gcc-12 libelf-dev || lacks "$module" "needs root to install QEMU and compilers" ;;
*) lacks "$module" "needs Debian 12 on amd64" ;;
esac

if [ ${#lacking[@]} -eq 0 ]; then
	# From here on a test that cannot run on this machine is a failure.
	export ESTIBA_TEST_ALL=1
else
	printf 'This machine (%s, %s, user %s) cannot run:\n' "$distribution" "$(uname -m)" "$(id -un)"
	for title in "${!lacking[@]}"; do printf '  %s: %s\n' "$title" "${lacking[$title]}"; done | sort
	if [ -n "${CI:-}${ESTIBA_TEST_ALL:-}" ]; then
		printf 'FAILED: with CI or ESTIBA_TEST_ALL set every suite has to run\n'
		exit 1
	fi
	printf 'The rest runs; Go tests that need more than this machine has are skipped.\n'
fi
[ "${1:-}" != --plan ] || exit 0

# shellcheck source=../tools/go.sh
. tools/go.sh
# As the programs are built, so that nothing is compiled twice.
export CGO_ENABLED=0 GOFLAGS=-trimpath
trap tools/own.sh EXIT

suites=0
suite() {
	local title=$1 started=$SECONDS
	shift
	if [ -n "${lacking[$title]:-}" ]; then
		printf '\n== %s: not run: %s\n' "$title" "${lacking[$title]}"
		return
	fi
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
	# The whole-system test has a suite of its own below; the fleet, the runtimes, the pod
	# and VictoriaMetrics have targets of their own. Four packages at a time: most of them
	# wait for containers, not for the processor.
	local packages
	packages=$(go list ./... | grep -v -e '/test/system/docker$' -e '/test/system/fleet$' -e '/test/system/runtimes$' -e '/test/system/kubernetes$' -e '/test/system/victoriametrics$')
	# shellcheck disable=SC2086
	${engine:+test/with-docker.sh} go test -p 4 -timeout 12m $packages || return 1
	# Modules of their own, so that what they need is not among our dependencies.
	(cd tools && go test ./run) && (cd tools/compose && go test ./...) && (cd test/system/compose && go test -run TestFile .) &&
		(cd tools/licences && go test .) && make -s licences && (cd tools/vulncheck && go test .) && (cd tools/release && go test .)
}

# install_needs installs what the suites need that run here.
install_needs() {
	if [ -z "${lacking[$module]:-}" ]; then
		test/setup.sh
	elif [ -n "$can_install" ]; then
		# shellcheck disable=SC2046
		test/install.sh $(command -v dockerd >/dev/null || echo docker.io) iptables curl gcc make libc6-dev
	fi
}

# Packages come over the network while the cores compile.
prepare() {
	local install
	install_needs &
	install=$!
	if ! { tools/build.sh prometheus promtool alertmanager amtool && make -s build; }; then
		wait "$install" || true
		return 1
	fi
	wait "$install"
}

suite "our programs, pinned tools, and what the tests need" prepare
suite "format and vet" formatted
suite "unit tests, rules, contract, borders, licences${engine:+, with a Docker Engine}" unit
suite "ten thousand random worlds of the manager" go test -count=1 -timeout 20m -run TestWorlds ./manager/run -worlds=10000
suite "$writer" make -s -C kmod/tests
suite "$module" test/machine/qemu/run.sh --quick
suite "$whole" go test -count=1 -v -parallel 4 -timeout 10m ./test/system/docker/

printf '\n%d passed, 0 failed' "$suites"
[ ${#lacking[@]} -eq 0 ] || printf ', %d cannot run on this machine' "${#lacking[@]}"
printf '\n'
