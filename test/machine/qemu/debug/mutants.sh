#!/usr/bin/env bash
# mutants.sh KERNEL BUILD TO: builds the module once with each patch in mutants/ against
# the kernel in KERNEL (see kernel.sh), in the directory BUILD, and puts the modules in TO,
# named like the patches. A patch that does not apply is a failure.
set -euo pipefail
kernel=$1 build=$2 to=$3
here=$(cd "$(dirname "$0")" && pwd)
kmod=$(cd "$here/../../../../kmod" && pwd)

sum=$(cat "$kernel/version" "$here"/mutants/*.patch "$0" "$kmod"/*.[ch] "$kmod/Kbuild" | sha256sum)
if [ "$(cat "$to/sum" 2>/dev/null)" = "$sum" ]; then
	exit 0
fi
rm -rf "$to"
mkdir -p "$build" "$to"
cp "$kmod/Kbuild" "$kmod/Makefile" "$build"
log=$build/build.log
: >"$log"
for patch in "$here"/mutants/*.patch; do
	name=$(basename "$patch" .patch)
	# Recompile only the files that differ from the previous mutant.
	for file in "$kmod"/*.[ch]; do
		cmp -s "$file" "$build/${file##*/}" || cp "$file" "$build"
	done
	patch -d "$build" -p1 --no-backup-if-mismatch <"$patch" >>"$log" 2>&1 || {
		echo "mutants.sh: $name does not apply ($log)" >&2
		exit 1
	}
	make -j"$(nproc)" -C "$build" "KDIR=$kernel/headers/build" CC=gcc-12 all >>"$log" 2>&1 || {
		tail -20 "$log" >&2
		echo "mutants.sh: building $name failed" >&2
		exit 1
	}
	strip --strip-debug -o "$to/$name.ko" "$build/estiba.ko"
done
echo "$sum" >"$to/sum"
