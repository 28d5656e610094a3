#!/usr/bin/env bash
# module.sh KERNEL TO: builds estiba.ko out of a copy of the sources against the
# headers in KERNEL (see kernel.sh), under sparse, into the folder TO. Any
# warning of compiler, sparse or modpost is a failure.
set -euo pipefail
kernel=$1 to=$2
source=$(cd "$(dirname "$0")/../../kmod" && pwd)

mkdir -p "$to"
# Debian 12's compiler, also where an older suite used an older one.
# Unchanged files keep their time, so that an unchanged module is not rebuilt.
cp -p "$source"/*.[ch] "$source/Kbuild" "$source/Makefile" "$to"
log=$to/build.log
if ! make -C "$to" KDIR="$kernel/headers/build" CC=gcc-12 sparse W=1 >"$log" 2>&1; then
	cat "$log" >&2
	exit 1
fi
if grep -iE 'warning|error' "$log" | grep -v 'Wsparse-error' >&2; then
	echo "module.sh: the build is not clean" >&2
	exit 1
fi
