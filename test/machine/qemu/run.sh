#!/usr/bin/env bash
# run.sh [--suite=bookworm] [--quick] [--run=PATTERN] [--bpf=PATTERN]: builds estiba.ko for the newest cloud
# kernel of a Debian suite (bullseye, bookworm, bookworm-6.12, sid; bookworm-rt, its
# real-time kernel; for arm64: bookworm-arm64, bookworm-6.12-arm64-16k), boots that
# kernel in QEMU, and tests the module there, with the exporter reading it. The verdict
# comes last, from two witnesses: the status sent by the machine and the kernel log. A
# missing status is a failure: the machine crashed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
# shellcheck source=../../../tools/go.sh
. "$top/tools/go.sh"
suite=bookworm
# Ten minutes allow for a busy host.
export ESTIBA_TEST_RUN='' ESTIBA_TEST_MINUTES=10
memory=1024 none='^$'
for arg; do
	case $arg in
	--suite=*) suite=${arg#*=} ;;
	# Without the slow tests of hostile readers.
	--quick) export ESTIBA_TEST_SKIP='^(TestLong|TestStarvedReaders|TestReadersPay|TestAllUsers)' ;;
	# Of the tests of the bpf source, without those of the module.
	--bpf=*) export ESTIBA_TEST_RUN=$none ESTIBA_TEST_BPF=${arg#*=} ;;
	--run=*)
		# Tests selected by name may need more time and memory.
		ESTIBA_TEST_RUN=${arg#*=} ESTIBA_TEST_MINUTES=40 memory=6144
		;;
	*)
		echo "run.sh: unknown argument $arg" >&2
		exit 2
		;;
	esac
done

# Stacks and page tables have pages of 16 kB there.
[ "$suite" != bookworm-6.12-arm64-16k ] || memory=4096
# The real-time kernel is slower.
if [ "$suite" = bookworm-rt ] && [ "$ESTIBA_TEST_MINUTES" -lt 20 ]; then
	ESTIBA_TEST_MINUTES=20
fi

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

more=()
case $suite in
sid) more=(mmdebstrap debian-archive-keyring) ;;
*-arm64*) more=(qemu-system-arm gcc-aarch64-linux-gnu gcc-12-aarch64-linux-gnu libc6-dev-arm64-cross) ;;
esac
sh "$here/install.sh" "${more[@]}"
kernel=$(bash "$here/kernel.sh" "$suite" "$cache")
release=$(cat "$kernel/version")
# shellcheck source=architecture.sh
. "$here/architecture.sh"
architecture "$kernel"
say "kernel $release"

bash "$here/module.sh" "$kernel" "$build/module"
say "estiba.ko built, sparse clean"

for name in shim load suid; do
	"${cross}gcc" -std=gnu11 -O2 -Wall -Wextra -Werror -static -pthread \
		-o "$build/programs/$name" "$here/programs/$name.c"
done
mv "$build/programs/shim" "$build/programs/containerd-shim-runc-v2"
cd "$top"
GOARCH=$goarch CGO_ENABLED=0 nice go test -c -p 2 -tags estiba_guest -o "$build/programs/guest.test" ./test/machine/qemu/guest
for name in exporter manager; do
	rm -f "$build/programs/$name"
	GOARCH=$goarch CGO_ENABLED=0 nice go build -p 2 -trimpath -o "$build/programs/$name" "./$name" ||
		fail "building the $name failed: not tested"
done
say "test programs built"

bash "$here/initramfs.sh" "$kernel" "$build/module/estiba.ko" "$build/programs" "$build/initramfs.gz"
disk=$build/disk.img
rm -f "$disk"
truncate -s 128M "$disk"
mkfs.ext4 -q -F "$disk"
say "initramfs packed ($(du -h "$build/initramfs.gz" | cut -f1))"

log=$build/kernel.log status=$build/status.log tar=$build/documents.tar documents=$build/documents
rm -rf "$log" "$status" "$tar" "$documents"
mkdir -p "$documents"
timeout --kill-after=10 $((ESTIBA_TEST_MINUTES * 60 + 60)) "${machine[@]}" -accel tcg -m "$memory" -smp 2 \
	-nographic -no-reboot -nodefaults -monitor none -serial "file:$log" \
	-kernel "$kernel/root/boot/vmlinuz-$release" -initrd "$build/initramfs.gz" \
	-append "$boot panic=-1 oops=panic loglevel=7 random.trust_cpu=on" \
	-drive "file=$disk,if=none,id=disk,format=raw,cache=unsafe" -device virtio-blk-pci,drive=disk \
	-device virtio-serial-pci \
	-chardev "file,id=status,path=$status" -device virtserialport,chardev=status,name=status \
	-chardev "file,id=files,path=$tar" -device virtserialport,chardev=files,name=files ||
	fail "qemu failed or timed out"
say "machine stopped"

# First witness: the status of the machine.
if [ -s "$status" ]; then
	grep -aE '^(---|    ---|        ---) ' "$status" | tr -d '\r' || true
fi
last=$(tail -1 "$status" 2>/dev/null | tr -d '\r' || true)
if [ "$last" != "status 0" ]; then
	fail "status of the machine is '${last:-none}' ($status)"
	grep -aE -A12 '^ *--- FAIL|^panic|^ +[a-z_]+\.go:' "$status" | head -80 || true
fi

# Second witness: the kernel log.
has() {
	grep -aqE "$1" "$log" || fail "the kernel log lacks '$1' ($log)"
}
grep -aqF "Linux version $release " "$log" || fail "the machine did not boot kernel $release ($log)"
[ "$suite" != bookworm-rt ] || has 'Linux version .* PREEMPT_RT'
if [ "$ESTIBA_TEST_RUN" != "$none" ]; then
	has 'estiba: version [0-9.]+ loaded'
	has 'estiba: unloaded'
fi
has 'reboot: Power down'
if grep -aE 'BUG:|WARNING:|Oops|Internal error|Unable to handle|Call [Tt]race|Kernel panic|general protection|soft lockup|rcu.*stall|proc_dir_entry.*(leak|already)|Unknown symbol' "$log"; then
	fail "the kernel reported a bug ($log)"
fi

# Validate the documents against the schema, and print the measurements.
tar -C "$documents" -xf "$tar" 2>/dev/null || fail "the machine sent no documents"
for table in "$documents"/*.md; do
	[ ! -e "$table" ] || printf '\nLinux %s:\n\n%s\n\n' "$release" "$(cat "$table")"
done
if [ "$ESTIBA_TEST_RUN" != "$none" ] && ! ESTIBA_DOCUMENTS=$documents go test -count=1 ./kmod/schema; then
	fail "a document violates the schema ($documents)"
fi

say "done"
if [ ${#failures[@]} -gt 0 ]; then
	printf '%s\n' "${failures[@]/#/failed: }"
	echo "FAIL: kernel $release"
	exit 1
fi
echo "PASS: kernel $release, $(find "$documents" -name '*.json' | wc -l) documents"
