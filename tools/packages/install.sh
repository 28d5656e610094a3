#!/usr/bin/env bash
# install.sh: puts exporter, manager and generator, as built, below DESTDIR with
# the prefix PREFIX, and writes down what it put: uninstall.sh removes that.
# Configuration that is there already stays as it is, unless it is what an
# earlier install put.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=lib.sh
. tools/packages/lib.sh
root=${DESTDIR:-} prefix=${PREFIX:-/usr}
[ "${prefix#/}" != "$prefix" ] || fail "PREFIX $prefix: want an absolute path"
record=$root$prefix/share/estiba/installed

if [ -z "$root" ]; then
	for part in exporter manager generator; do
		if dpkg-query -S "$prefix/bin/estiba-$part" >/dev/null 2>&1; then
			fail "the package estiba-$part is installed: remove it first, or upgrade it instead"
		fi
	done
fi

# The checksum under which a file was installed before, if it was.
before() { [ ! -f "$record" ] || awk -v file="$1" '$2 == file {print $1}' "$record"; }
sum() { sha256sum "$1" | cut -d ' ' -f 1; }

make_texts "$programs" exporter manager generator
list=$(files "$prefix" exporter manager generator)
installed=
while read -r mode to from; do
	[ -e /etc/debian_version ] || to=${to/zsh\/vendor-completions/zsh\/site-functions}
	case $to in
	/etc/*)
		was=$(before "$to")
		if [ -e "$root$to" ] && [ "$(sum "$root$to")" != "$was" ] && ! cmp -s "$from" "$root$to"; then
			echo "kept: $to, which was changed here"
			# Still ours if it is ever changed back, and never otherwise.
			[ -z "$was" ] || installed+="$was $to"$'\n'
			continue
		fi
		;;
	esac
	put "$root" "$prefix" "$mode" "$to" "$from"
	installed+="$(sum "$root$to") $to"$'\n'
done <<<"$list"

# What an earlier version had and this one has not is still to be removed.
if [ -f "$record" ]; then
	while read -r was to; do
		grep -q " $to\$" <<<"$installed" || installed+="$was $to"$'\n'
	done <"$record"
fi
printf %s "$installed" | install -D -m 644 /dev/stdin "$record"
echo "installed $(grep -c . "$record") files below ${root:-/}"
[ -n "$root" ] || cat <<END
next, as docs/systemd.md has it:
  systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload
  systemctl enable --now estiba-exporter
END
