#!/usr/bin/env bash
# module.sh KERNEL TO [SOURCE]: builds a module from a copy of the sources (default:
# estiba.ko) against the headers in KERNEL (see kernel.sh), under sparse, in the directory
# TO. Any warning of compiler, sparse or modpost is a failure, and so is a file that
# sparse did not check: kbuild silently skips sparse if it cannot find it.
set -euo pipefail
kernel=$1 to=$2 source=${3:-}
# Flags of a calling make, such as -s, would hide which files sparse checked.
unset MAKEFLAGS MFLAGS
here=$(cd "$(dirname "$0")" && pwd)
[ -n "$source" ] || source=$here/../../../kmod
# shellcheck source=architecture.sh
. "$here/architecture.sh"
architecture "$kernel"

mkdir -p "$to"
# Keep times, so that an unchanged module is not rebuilt.
find -H "$source" -maxdepth 1 \( -name '*.[ch]' -o -name Kbuild \) -exec cp -p {} "$to" \;
cp -p "$here/../../../kmod/Makefile" "$to"
log=$to/build.log
make=(make -j "$(nproc)" "${kbuild[@]}" sparse W=1)
build=("${make[@]}" -C "$to" "KDIR=$kernel/headers/build")
# Always Debian 12's compiler, also for older suites.
grep -qs '^CONFIG_CC_IS_CLANG=y' "$kernel/headers/build/.config" || build+=(CC="${cross}gcc-12")
if [ -d "$kernel/chroot" ]; then
	# With the compiler, sparse and C library of the newer suite. Other builds may run
	# there at the same time. The kernel's tools need /proc, mounted in a private
	# namespace.
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
	cp "$inside"/*.ko "$inside"/.*.o.cmd "$to"
fi
if [ "$status" -ne 0 ]; then
	cat "$log" >&2
	exit 1
fi
if grep -iE 'warning|error' "$log" | grep -v 'Wsparse-error' >&2; then
	echo "module.sh: the build has warnings" >&2
	exit 1
fi
missed=$(comm -23 <(find -H "$source" -maxdepth 1 -name '*.c' -printf '%f\n' | sort) \
	<(sed -n 's|^ *CHECK  *\(.*/\)\{0,1\}||p' "$log" | sort))
if [ -n "$missed" ]; then
	grep -F 'C=2 specified' "$log" >&2 || true
	echo "module.sh: sparse did not check ${missed//$'\n'/ }" >&2
	exit 1
fi
