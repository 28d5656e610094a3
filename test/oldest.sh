#!/usr/bin/env bash
# `make test-oldest`: configuration, rules, dashboards and messages with the oldest
# releases that they are for: Prometheus 2.42 and Alertmanager 0.25, which are those
# of Debian 12. They are fetched from there and unpacked into build/cache, not
# installed. The pinned releases have the same tests in `make test`.
set -euo pipefail
# Debian's Alertmanager finds its own templates in /usr/share only: it gets to see
# them there, in a mount namespace of its own.
if [ "${1:-}" != --unshared ]; then
	exec unshare --mount "$0" --unshared
fi
here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$here")
# shellcheck source=../tools/go.sh
. "$top/tools/go.sh"
cache=$top/build/cache/oldest

die() {
	echo "oldest.sh: $*" >&2
	exit 1
}
# shellcheck source=machine/qemu/lists.sh
. "$here/machine/qemu/lists.sh"

# fetch unpacks both packages, once for each of their releases.
fetch() {
	local versions dir=$cache/new
	package_lists bookworm "$top/build/cache/kernels"
	versions=$(apt-cache "${apt[@]}" policy prometheus prometheus-alertmanager | awk '$1 == "Candidate:" {print $2}')
	[ "$(cat "$cache/versions" 2>/dev/null)" != "$versions" ] || return 0
	rm -rf "$cache"
	mkdir -p "$dir"
	chmod 755 "$dir"
	(cd "$dir" && apt-get "${apt[@]}" -q download prometheus prometheus-alertmanager) >"$cache/log" 2>&1 ||
		die "cannot fetch Debian's Prometheus and Alertmanager: $(tail -3 "$cache/log")"
	for package in "$dir"/*.deb; do dpkg -x "$package" "$cache"; done
	rm -rf "$dir"
	echo "$versions" >"$cache/versions"
}
fetch

bin=$cache/usr/bin
export PROMETHEUS=$bin/prometheus PROMTOOL=$bin/promtool ALERTMANAGER=$bin/prometheus-alertmanager AMTOOL=$bin/amtool
says() { "$1" --version 2>&1 | head -1; }
case "$(says "$PROMETHEUS"), $(says "$ALERTMANAGER")" in
*"prometheus, version 2.42."*"alertmanager, version 0.25."*) ;;
*) die "these are not the oldest releases: $(says "$PROMETHEUS"), $(says "$ALERTMANAGER")" ;;
esac

mount -t overlay -o "lowerdir=$cache/usr/share:/usr/share" none /usr/share || die "cannot lay Debian's templates over /usr/share: this wants root"
make -s -C "$top" build
cd "$top"
export ESTIBA_TEST_ALL=1 CGO_ENABLED=0 GOFLAGS=-trimpath
go test -count=1 -timeout 10m ./test/static/prometheus ./test/system/notifications ./test/system/history
# Every query of the dashboards, with all programs and no container.
go test -count=1 -timeout 10m -run TestNothingRuns ./test/system/docker
# Hosts found by file and HTTP, and late samples in a central store.
go test -count=1 -timeout 10m -run 'Discovery|Late' ./test/system/fleet
