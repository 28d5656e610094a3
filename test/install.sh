#!/bin/sh
# Installs the named packages on a Debian or Ubuntu machine, as root. Quiet and
# quick when all of them are there already. With --check it only reports, by its
# status, whether they are.
set -eu

check=
if [ "${1:-}" = --check ]; then
	check=yes
	shift
fi

missing=
for p in "$@"; do
	dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
[ -z "$check" ] || exit 1

if [ "$(id -u)" -ne 0 ]; then
	echo "these packages are missing and need root to install:$missing" >&2
	exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# Somebody else's apt may hold the lock for a moment.
tries=0
# shellcheck disable=SC2086
until apt-get -q update >/dev/null &&
	apt-get -q -o DPkg::Lock::Timeout=120 install -y --no-install-recommends $missing >/dev/null; do
	tries=$((tries + 1))
	[ "$tries" -lt 5 ] || exit 1
	sleep 5
done
