#!/usr/bin/env bash
# Tests docker-compose.yml: what it says, read as compose reads it, and the
# whole stack really running, on images that are made here. As root, with a
# Docker Engine of its own. The last line is "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/../../.."
# shellcheck source=../../../tools/go.sh
. tools/go.sh

dir=$(mktemp -d "${TMPDIR:-/tmp}/compose.XXXXXX")
finish() {
	local status=$?
	# What an Engine that was killed leaves in the host's cgroups.
	if [ -d "$dir/data/containers" ]; then
		for id in "$dir"/data/containers/*/; do
			find /sys/fs/cgroup -depth -type d -path "*/$(basename "$id")*" -exec rmdir {} + 2>/dev/null || true
		done
	fi
	rm -rf "$dir"
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

if [ "$(id -u)" -ne 0 ]; then
	echo "this test starts a Docker Engine of its own and has to be root" >&2
	exit 1
fi
for need in dockerd docker unshare nsenter ip ss curl; do
	command -v "$need" >/dev/null || {
		echo "this test needs $need" >&2
		exit 1
	}
done

started=$SECONDS
echo "== building the pinned servers and docker compose"
tools/build.sh prometheus promtool alertmanager amtool
tools/compose/build.sh

# From here on in a copy: what is tested does not change under the test, and
# what it makes is gone with it.
echo "== building our programs, in a copy of the repository"
mkdir -p "$dir/repository/build/bin"
chmod 0755 "$dir"
git ls-files -z --cached --others --exclude-standard | { xargs -0 ls -d 2>/dev/null || true; } | tar -c -T - | tar -x -C "$dir/repository"
cp -p build/bin/{prometheus,promtool,alertmanager,amtool,docker-compose} build/bin/.*.stamp "$dir/repository/build/bin/"
cd "$dir/repository"
make -s build
(cd test/system/compose && go test -c -o "$dir/compose.test" .)
echo "== built in $((SECONDS - started)) s"

# suite TITLE COMMAND… shows a Go test's output and keeps its verdicts. A test
# that was skipped is one that should have run.
passed=0 failed=0
suite() {
	local title=$1 log=$dir/log p f
	shift
	echo "== $title"
	"$@" 2>&1 | tee "$log" || true
	p=$(grep -c -- '--- PASS: ' "$log") || true
	f=$(grep -cE -- '--- (FAIL|SKIP): ' "$log") || true
	if [ "$f" -eq 0 ] && ! grep -qx PASS "$log"; then f=1; fi
	passed=$((passed + p)) failed=$((failed + f))
}

# inside runs the test program where its paths lead to the repository.
inside() { (cd test/system/compose && "$@"); }

suite "the stand-in for the socket proxy" inside sh -c 'cd ../../../tools/compose && go test -count=1 -v ./socketproxy && echo PASS'
suite "what docker-compose.yml says" inside "$dir/compose.test" -test.v -test.run TestFile
export ESTIBA_TEST_STACK=1 ESTIBA_COMPOSE_STATE=$dir/state
suite "the stack, running" inside unshare --net --mount --pid --fork --kill-child \
	./engine.sh "$dir" "$dir/compose.test" -test.v -test.run TestStack -test.timeout 15m

echo "== $((SECONDS - started)) s"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
