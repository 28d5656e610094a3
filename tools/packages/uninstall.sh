#!/usr/bin/env bash
# uninstall.sh: removes what install.sh put below DESTDIR with the prefix
# PREFIX, and the folders that are empty then. Configuration that was changed
# since stays, and so does what the programs wrote.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=lib.sh
. tools/packages/lib.sh
root=${DESTDIR:-} prefix=${PREFIX:-/usr}
record=$root$prefix/share/estiba/installed
[ -f "$record" ] || fail "nothing was installed here: there is no $record"

if [ -z "$root" ] && [ -d /run/systemd/system ]; then
	for unit in estiba-exporter.service estiba-manager.service estiba-generator.timer; do
		if systemctl is-active --quiet "$unit" || systemctl is-enabled --quiet "$unit" 2>/dev/null; then
			fail "$unit is in use: systemctl disable --now $unit"
		fi
	done
fi

folders=$prefix/share/estiba
while read -r sum to; do
	case $to in
	/etc/*)
		if [ -e "$root$to" ] && ! sha256sum --status -c <<<"$sum  $root$to"; then
			echo "kept: $to, which was changed here"
			continue
		fi
		;;
	esac
	rm -f "$root$to"
	folders+=$'\n'${to%/*}
done <"$record"
rm "$record"

# Only folders that are named for us, the deepest first.
awk '{ while (/estiba/) { print; sub(/\/[^\/]*$/, "") } }' <<<"$folders" | sort -ru | while read -r folder; do
	rmdir --ignore-fail-on-non-empty "$root$folder" 2>/dev/null || true
done
echo "removed"
