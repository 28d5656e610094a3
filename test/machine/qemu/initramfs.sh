#!/usr/bin/env bash
# initramfs.sh KERNEL MODULE PROGRAMS TO: packs the root of the test machine: busybox,
# kernel modules, estiba.ko, and the programs in the directory PROGRAMS.
set -euo pipefail
kernel=$1 module=$2 programs=$3 to=$4
here=$(cd "$(dirname "$0")" && pwd)
release=$(cat "$kernel/version")
# shellcheck source=architecture.sh
. "$here/architecture.sh"
architecture "$kernel"

root=$(mktemp -d "$(dirname "$to")/root.XXXXXX")
trap 'rm -rf "$root"' EXIT
chmod 755 "$root" # other users run programs there
mkdir -p "$root/bin" "$root/modules"
cp "$busybox" "$root/bin/busybox"
cp "$programs"/* "$root/bin/"
# Without debug information it loads faster.
"${cross}strip" --strip-debug -o "$root/estiba.ko" "$module"
cp "$here/programs/init" "$root/init"
# Long tests run only if selected by name.
{
	printf -- '-test.timeout=%sm\n' "${ESTIBA_TEST_MINUTES:-10}"
	if [ -n "${ESTIBA_TEST_RUN:-}" ]; then
		printf -- '-test.run=%s\n' "$ESTIBA_TEST_RUN"
	else
		printf -- '-test.skip=%s\n' "${ESTIBA_TEST_SKIP:-^TestLong}"
	fi
} >"$root/test.args"
# Of the bpf source: what a container is, and its numbers.
if [ -z "${ESTIBA_TEST_RUN:-}" ] || [ -n "${ESTIBA_TEST_BPF:-}" ]; then
	printf -- '-test.timeout=%sm\n-test.run=%s\n' "${ESTIBA_TEST_MINUTES:-10}" \
		"${ESTIBA_TEST_BPF:-^Test(TruthOf|CgroupsBelow|CountersAreMonotonic|ListsExactly|PartsAddUp|OOMKills|NamesInside)}"
fi >"$root/bpf.args"

: >"$root/modules/order"
for name in virtio_pci virtio_console virtio_blk ext4 dummy; do
	modprobe -d "$kernel/root" -S "$release" --show-depends "$name"
done | awk '$1 == "insmod" && !seen[$2]++ {print $2}' | while read -r file; do
	cp "$file" "$root/modules/"
	basename "$file" >>"$root/modules/order"
done

(cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$to"
