#!/usr/bin/env bash
# module.sh KERNEL TO [SOURCE]: builds a module out of a copy of the sources (by
# default estiba.ko's) against the headers in KERNEL (see kernel.sh), under
# sparse, into the folder TO. Any warning of compiler, sparse or modpost is a
# failure, and so is a file that sparse did not look at: kbuild goes on without a
# word of warning where it takes sparse for missing.
set -euo pipefail
kernel=$1 to=$2 source=${3:-}
# What a make that called this was told, such as -s, would hide what sparse looked at.
unset MAKEFLAGS MFLAGS
here=$(cd "$(dirname "$0")" && pwd)
[ -n "$source" ] || source=$here/../../kmod

mkdir -p "$to"
# Unchanged files keep their time, so that an unchanged module is not rebuilt.
find "$source" -maxdepth 1 \( -name '*.[ch]' -o -name Kbuild \) -exec cp -p {} "$to" \;
cp -p "$here/../../kmod/Makefile" "$to"
log=$to/build.log
make=(make -j "$(nproc)" sparse W=1)
# Debian 12's compiler, also where an older suite used an older one.
build=("${make[@]}" -C "$to" "KDIR=$kernel/headers/build" CC=gcc-12)
if [ -d "$kernel/chroot" ]; then
	# With the newer suite's own compiler, sparse and C library. Other builds
	# may be in there at the same time. The kernel's tools look into /proc; it
	# is mounted for them alone, and gone with them.
	inside=$(mktemp -d "$kernel/chroot/module.XXXXXX")
	trap 'rm -rf "$inside"' EXIT
	cp -p "$to"/*.[ch] "$to/Kbuild" "$to/Makefile" "$inside"
	# shellcheck disable=SC2016
	build=(unshare --mount --propagation private sh -c
		'mount -t proc proc "$1/proc" && exec chroot "$@"' sh
		"$kernel/chroot" "${make[@]}" -C "/${inside##*/}" KDIR=/headers)
fi
status=0
"${build[@]}" >"$log" 2>&1 || status=$?
if [ -d "$kernel/chroot" ] && [ "$status" -eq 0 ]; then
	cp "$inside"/*.ko "$to"
fi
if [ "$status" -ne 0 ]; then
	cat "$log" >&2
	exit 1
fi
if grep -iE 'warning|error' "$log" | grep -v 'Wsparse-error' >&2; then
	echo "module.sh: the build is not clean" >&2
	exit 1
fi
missed=$(comm -23 <(find "$source" -maxdepth 1 -name '*.c' -printf '%f\n' | sort) \
	<(sed -n 's|^ *CHECK  *\(.*/\)\{0,1\}||p' "$log" | sort))
if [ -n "$missed" ]; then
	grep -F 'C=2 specified' "$log" >&2 || true
	echo "module.sh: sparse did not look at ${missed//$'\n'/ }" >&2
	exit 1
fi
