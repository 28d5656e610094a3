#!/usr/bin/env bash
# run.sh [--suite=bookworm] [--run=PATTERN]: builds estiba.ko for the newest
# cloud kernel of a Debian suite (bullseye, bookworm, bookworm-6.12, sid), boots
# that kernel in QEMU, and tests the module there, with the real exporter reading
# it. The verdict comes last, and rests on
# two witnesses: the status that the machine sent, and the kernel's log. No
# status is a failure: the machine was lost.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
suite=bookworm
# A machine that has to share its CPUs is slow.
export ESTIBA_TEST_RUN='' ESTIBA_TEST_MINUTES=10
memory=1024
for arg; do
	case $arg in
	--suite=*) suite=${arg#*=} ;;
	--run=*)
		# What is asked for by name may take long and need much.
		ESTIBA_TEST_RUN=${arg#*=} ESTIBA_TEST_MINUTES=40 memory=6144
		;;
	*)
		echo "run.sh: unknown argument $arg" >&2
		exit 2
		;;
	esac
done

build=$top/build/qemu/$suite
cache=$top/build/cache/kernels
mkdir -p "$build/programs" "$cache"
failures=()
fail() {
	failures+=("$*")
	echo "FAIL: $*"
}
say() {
	printf '%4d s  %s\n' "$SECONDS" "$*"
}

newest=()
[ "$suite" != sid ] || newest=(mmdebstrap debian-archive-keyring)
sh "$here/install.sh" "${newest[@]}"
kernel=$(bash "$here/kernel.sh" "$suite" "$cache")
release=$(cat "$kernel/version")
say "kernel $release"

bash "$here/module.sh" "$kernel" "$build/module"
say "estiba.ko built, sparse clean"

for name in shim load suid; do
	gcc -std=gnu11 -O2 -Wall -Wextra -Werror -static -pthread \
		-o "$build/programs/$name" "$here/programs/$name.c"
done
mv "$build/programs/shim" "$build/programs/containerd-shim-runc-v2"
cd "$top"
CGO_ENABLED=0 nice go test -c -p 2 -tags estiba_guest -o "$build/programs/guest.test" ./test/qemu/guest
rm -f "$build/programs/exporter"
CGO_ENABLED=0 nice go build -p 2 -trimpath -o "$build/programs/exporter" ./exporter ||
	fail "the exporter does not build: nothing reads the module in the machine"
say "test programs built"

bash "$here/initramfs.sh" "$kernel" "$build/module/estiba.ko" "$build/programs" "$build/initramfs.gz"
disk=$build/disk.img
rm -f "$disk"
truncate -s 128M "$disk"
mkfs.ext4 -q -F "$disk"
say "machine packed ($(du -h "$build/initramfs.gz" | cut -f1))"

log=$build/kernel.log status=$build/status.log tar=$build/documents.tar documents=$build/documents
rm -rf "$log" "$status" "$tar" "$documents"
mkdir -p "$documents"
# cmpxchg16b is switched off: Debian 12's QEMU corrupts flags around it.
timeout --kill-after=10 $((ESTIBA_TEST_MINUTES * 60 + 60)) qemu-system-x86_64 -accel tcg -cpu max,-cx16 -m "$memory" -smp 2 \
	-nographic -no-reboot -nodefaults -monitor none -serial "file:$log" \
	-kernel "$kernel/root/boot/vmlinuz-$release" -initrd "$build/initramfs.gz" \
	-append "console=ttyS0 panic=-1 oops=panic loglevel=7 random.trust_cpu=on" \
	-drive "file=$disk,if=none,id=disk,format=raw,cache=unsafe" -device virtio-blk-pci,drive=disk \
	-device virtio-serial-pci \
	-chardev "file,id=status,path=$status" -device virtserialport,chardev=status,name=status \
	-chardev "file,id=files,path=$tar" -device virtserialport,chardev=files,name=files ||
	fail "qemu ended with an error or took too long"
say "machine ended"

# First witness: what the machine sent.
if [ -s "$status" ]; then
	grep -aE '^(---|    ---|        ---) ' "$status" | tr -d '\r' || true
fi
last=$(tail -1 "$status" 2>/dev/null | tr -d '\r' || true)
if [ "$last" != "status 0" ]; then
	fail "the machine's status is '${last:-none}' ($status)"
	grep -aE -A12 '^ *--- FAIL|^panic|^ +[a-z_]+\.go:' "$status" | head -80 || true
fi

# Second witness: the kernel's log.
has() {
	grep -aqE "$1" "$log" || fail "the kernel's log has no '$1' ($log)"
}
grep -aqF "Linux version $release " "$log" || fail "it was not kernel $release that started ($log)"
has 'estiba: version [0-9.]+ loaded'
has 'estiba: unloaded'
has 'reboot: Power down'
if grep -aE 'BUG:|WARNING:|Oops|Call Trace|Kernel panic|general protection|soft lockup|rcu.*stall|proc_dir_entry.*(leak|already)|Unknown symbol' "$log"; then
	fail "the kernel complained ($log)"
fi

# What the module wrote, against the schema, and what was measured of it.
tar -C "$documents" -xf "$tar" 2>/dev/null || fail "no documents came out of the machine"
for table in "$documents"/*.md; do
	[ ! -e "$table" ] || printf '\nLinux %s:\n\n%s\n\n' "$release" "$(cat "$table")"
done
if ! ESTIBA_DOCUMENTS=$documents go test -count=1 ./kmod/schema; then
	fail "a document of the machine does not follow the schema ($documents)"
fi

say "done"
if [ ${#failures[@]} -gt 0 ]; then
	printf '%s\n' "${failures[@]/#/failed: }"
	echo "FAIL: kernel $release"
	exit 1
fi
echo "PASS: kernel $release, $(find "$documents" -name '*.json' | wc -l) documents"
