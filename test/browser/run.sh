#!/usr/bin/env bash
# Checks the dashboards against Grafana's own types and draws them with
# Grafana's own components in Chromium, from the data of all our programs at
# work, and of three hosts in a central store; looks at the manager's status page
# there and with made-up containers, also with axe-core. Installs what it needs on
# Debian 12, as root. Pictures go to build/browser, with --keep-pictures also to
# docs/pictures.
#
#   test/browser/run.sh [--keep-pictures]
#
# ESTIBA_BROWSER_FOR=15m lets the programs work that long before (150s).
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
# shellcheck source=../../tools/go.sh
. "$root/tools/go.sh"
export ESTIBA_TEST_ALL=1
mkdir -p "$root/build/browser"
log=$root/build/browser/log
say() { printf '[%3d s] %s\n' "$SECONDS" "$*"; }

# quietly runs a command that says nothing unless it fails.
quietly() {
	"$@" >"$log.$1" 2>&1 || {
		local status=$?
		tail -n 40 "$log.$1"
		echo "0 passed, 1 failed"
		exit "$status"
	}
}

install_packages() {
	local missing=() p
	command -v node >/dev/null || missing+=(nodejs)
	command -v npm >/dev/null || missing+=(npm)
	for p in chromium fonts-inter docker.io iproute2 pngquant; do
		dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	say "installing ${missing[*]}"
	apt_install() { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}"; }
	quietly apt_install
}

npm_install() {
	# Only when the lock file differs from what was installed.
	local stamp=node_modules/.estiba-lock
	cmp -s package-lock.json "$stamp" && return 0
	npm ci --legacy-peer-deps --no-audit --no-fund && cp package-lock.json "$stamp"
}

programs() { make -s -C "$root" build && "$root/tools/build.sh" prometheus alertmanager; }

install_packages
say "installing Grafana's packages, compiling our programs"
quietly npm_install &
npm_pid=$!
quietly programs &
programs_pid=$!
while kill -0 "$npm_pid" 2>/dev/null || kill -0 "$programs_pid" 2>/dev/null; do
	sleep 1
	[ $((SECONDS % 20)) -ne 0 ] || say "still at it"
done
wait "$npm_pid"
wait "$programs_pid"

counts=$root/build/browser/counts
: >"$counts"
# count lets a command's closing lines through and keeps its counts.
count() { tee >(grep -E '^[0-9]+ passed, [0-9]+ failed$' >>"$counts"); }

status=0
say "types and ids"
node check-types.mjs | count || status=1
say "all programs at work, then the drawing"
# In a PID namespace of its own, so that the exporter sees the test's containers only.
(cd "$root" && unshare --pid --fork --kill-child --mount-proc go test -tags browser -count=1 -v -timeout 45m ./test/browser/) | count || status=1
say "three hosts and a central store at work, then the drawing"
(cd "$root" && go test -tags browser -count=1 -v -timeout 15m -run TestDashboards ./test/system/fleet/) | count || status=1
if [ "${1:-}" = --keep-pictures ] && [ "$status" -eq 0 ]; then
	mkdir -p "$root/docs/pictures"
	keep() { pngquant --force --strip --quality 70-95 --output "$root/docs/pictures/$2.png" 256 -- "$root/build/browser/$1.png"; }
	keep overview-top overview # all of it is long
	keep overview rows
	for name in container manager stack manager/status fleet/fleet; do
		keep "$name" "${name##*/}"
	done
	keep fleet/overview-chosen-top hosts
fi
sleep 1 # the counts are written by another process
say "done"
awk -v status="$status" '{ p += $1; f += $3 } END { if (status && !f) f = 1; printf "%d passed, %d failed\n", p, f; exit f > 0 || p == 0 }' "$counts"
