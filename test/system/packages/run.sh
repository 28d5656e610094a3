#!/usr/bin/env bash
# run.sh: the packages, `make install` and the systemd units as a host
# has them. It makes a Debian 12 in build/cache/packages (once a week; two to
# three minutes), and then works on copies of it that live in memory:
#
#   static   units and their exposure, lintian, the same bytes from two builds,
#            what rpm and Arch packages hold, make install and uninstall
#   host     that Debian with its own systemd as process 1, in namespaces of its
#            own: installs, starts, upgrades, removes and purges the packages
#
# As root on Debian 12. Everything is mounted in a mount namespace of its own:
# nothing is left but the cache and build/packages.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
cd "$top"

if [ -z "${ESTIBA_PACKAGES_INSIDE:-}" ]; then
	[ "$(id -u)" -eq 0 ] || {
		echo "run.sh: wants root" >&2
		exit 1
	}
	test/setup.sh
	test/install.sh mmdebstrap debian-archive-keyring openssl rpm libarchive-tools man-db
	# A Docker Engine for the generator; mounts that go away with us.
	ESTIBA_PACKAGES_INSIDE=1 exec test/with-docker.sh unshare --mount --propagation private bash "$here/run.sh" "$@"
fi

work=$(mktemp -d)
log=$top/build/packages-test
mkdir -p "$log"
passed=0 failed=()
ok() {
	passed=$((passed + 1))
	printf '%4d s  ok: %s\n' "$SECONDS" "$*"
}
# What the machine's journal says last is shown with it.
fail() {
	failed+=("$*")
	printf '%4d s  FAIL: %s\n' "$SECONDS" "$*"
	[ -z "${machine:-}" ] || on_machine journalctl --no-pager -o short-monotonic -n 15 2>/dev/null | sed 's/^/        /' || true
}
die() {
	printf '%4d s  FAIL: %s\n%d passed, %d failed\n' "$SECONDS" "$*" "$passed" $((${#failed[@]} + 1))
	exit 1
}
# try WHAT COMMAND…: that it works; what it says is shown if it does not.
try() {
	local what=$1
	shift
	if "$@" >"$work/said" 2>&1; then
		ok "$what"
	else
		fail "$what"
		tail -n 25 "$work/said"
	fi
	cat "$work/said" >>"$log/log"
}
# must: the rest makes no sense without it.
must() {
	local before=${#failed[@]}
	try "$@"
	[ "${#failed[@]}" -eq "$before" ] || die "no use going on"
}
: >"$log/log"

finish() {
	local status=$?
	[ -z "${machine_outside:-}" ] || stop_machine
	# The mounts of this namespace, so that nothing below them is removed.
	umount -R "$work"/*/root 2>/dev/null || true
	mountpoint -q "$work/mem" && umount -l "$work/mem"
	rm -rf --one-file-system "$work"
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

# shellcheck source=base.sh
. "$here/base.sh"
# shellcheck source=machine.sh
. "$here/machine.sh"
# shellcheck source=static.sh
. "$here/static.sh"
# shellcheck source=host.sh
. "$here/host.sh"

make_base &
base_pid=$!
build_packages # its second build goes on beside the rest
wait "$base_pid" || die "no Debian to install on"
ok "a Debian 12 to install on"
test_units
test_lintian
test_formats
test_make_install
test_host
wait_reproducible

printf '%d passed, %d failed, in %d s\n' "$passed" "${#failed[@]}" "$SECONDS"
[ ${#failed[@]} -eq 0 ]
