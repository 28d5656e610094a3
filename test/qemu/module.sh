#!/usr/bin/env bash
# module.sh KERNEL TO [SOURCE]: builds a module out of a copy of the sources (by
# default estiba.ko's) against the headers in KERNEL (see kernel.sh), under
# sparse, into the folder TO. Any warning of compiler, sparse or modpost is a
# failure.
set -euo pipefail
kernel=$1 to=$2 source=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
[ -n "$source" ] || source=$here/../../kmod

mkdir -p "$to"
# Unchanged files keep their time, so that an unchanged module is not rebuilt.
find "$source" -maxdepth 1 \( -name '*.[ch]' -o -name Kbuild \) -exec cp -p {} "$to" \;
cp -p "$here/../../kmod/Makefile" "$to"
log=$to/build.log
# Debian 12's compiler, also where an older suite used an older one.
build=(make -C "$to" "KDIR=$kernel/headers/build" CC=gcc-12)
if [ -d "$kernel/chroot" ]; then
	# With the newer suite's own compiler, sparse and C library. Other builds
	# may be in there at the same time.
	inside=$(mktemp -d "$kernel/chroot/module.XXXXXX")
	trap 'rm -rf "$inside"' EXIT
	cp -p "$to"/*.[ch] "$to/Kbuild" "$to/Makefile" "$inside"
	build=(chroot "$kernel/chroot" make -C "/${inside##*/}" KDIR=/headers)
fi
status=0
"${build[@]}" sparse W=1 >"$log" 2>&1 || status=$?
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
