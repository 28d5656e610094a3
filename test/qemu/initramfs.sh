#!/usr/bin/env bash
# initramfs.sh KERNEL MODULE PROGRAMS TO: packs the test machine's root: busybox,
# the modules it needs, estiba.ko, and the programs in the folder PROGRAMS.
set -euo pipefail
kernel=$1 module=$2 programs=$3 to=$4
here=$(cd "$(dirname "$0")" && pwd)
release=$(cat "$kernel/version")

root=$(mktemp -d "$(dirname "$to")/root.XXXXXX")
trap 'rm -rf "$root"' EXIT
chmod 755 "$root" # other users run programs there, too
mkdir -p "$root/bin" "$root/modules"
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$programs"/* "$root/bin/"
# Without its debug information it loads faster.
strip --strip-debug -o "$root/estiba.ko" "$module"
cp "$here/programs/init" "$root/init"
# Tests that take long run only when they are asked for by name.
{
	printf -- '-test.timeout=%sm\n' "${ESTIBA_TEST_MINUTES:-10}"
	if [ -n "${ESTIBA_TEST_RUN:-}" ]; then
		printf -- '-test.run=%s\n' "$ESTIBA_TEST_RUN"
	else
		echo '-test.skip=^TestLong'
	fi
} >"$root/test.args"

: >"$root/modules/order"
for name in virtio_pci virtio_console virtio_blk ext4 dummy; do
	modprobe -d "$kernel/root" -S "$release" --show-depends "$name"
done | awk '$1 == "insmod" && !seen[$2]++ {print $2}' | while read -r file; do
	cp "$file" "$root/modules/"
	basename "$file" >>"$root/modules/order"
done

(cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$to"
