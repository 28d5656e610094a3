#!/usr/bin/env bash
# debug.sh [--only=test|plant] [--quick] [--run=PATTERN]: tests the module on a debug kernel
# (KASAN, lockdep, PROVE_RCU, DEBUG_ATOMIC_SLEEP, kmemleak, fault injection), built from
# Debian's source by kernel.sh. Boots the machine twice:
#
#   test    the guest suite (../guest; --run selects tests, --quick those with the most
#           concurrency); reading and loading with failing allocations; many readers while
#           containers start and exit; two kmemleak scans. The kernel log must be clean
#   plant   bugs of each kind, from planted/ and from patched copies of the module
#           (mutants/). The log must contain the report of each (expected)
#
# First it checks coding style and runs sparse. Each boot has two witnesses: the status
# sent by the machine, and the kernel log. The verdict comes last.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
qemu=$(dirname "$here")
top=$(cd "$qemu/../../.." && pwd)
# shellcheck source=../../../../tools/go.sh
. "$top/tools/go.sh"
only='' run=''
for arg; do
	case $arg in
	--only=test | --only=plant) only=${arg#*=} ;;
	--quick) run='^(TestLoadAndUnload|TestListsExactly|TestExitStorm|TestRuntimeAtWork|TestEnded|TestManyReaders|TestWhoseCgroup|TestDeepCgroups|TestStrayProcess|TestHostileNames|TestSplice|TestNetwork|TestSharedNetwork|TestOOMKills)' ;;
	--run=*) run=${arg#*=} ;;
	*)
		echo "debug.sh: unknown argument $arg" >&2
		exit 2
		;;
	esac
done

build=$top/build/qemu/debug
mkdir -p "$build/programs"
passed=0
failures=()
ok() {
	passed=$((passed + 1))
	printf '%4d s  ok: %s\n' "$SECONDS" "$*"
}
fail() {
	failures+=("$*")
	printf '%4d s  FAIL: %s\n' "$SECONDS" "$*"
}
# try NAME COMMAND…: a check that passes if the command succeeds.
try() {
	local what=$1
	shift
	if "$@"; then
		ok "$what"
	else
		fail "$what"
	fi
}
verdict() {
	[ ${#failures[@]} -eq 0 ] || printf 'failed: %s\n' "${failures[@]}"
	printf '%d passed, %d failed\n' "$passed" "${#failures[@]}"
	trap - EXIT
	[ ${#failures[@]} -eq 0 ]
	exit
}
# An early exit is a failure.
trap 'fail "debug.sh exited early"; verdict' EXIT

sh "$qemu/install.sh" bc bison flex patch perl
kernel=$(bash "$here/kernel.sh" "$top/build/cache/kernels")
release=$(cat "$kernel/version")
ok "debug kernel $release"

# Matches kernel bug reports; the boot with planted bugs verifies it for each of them.
report='BUG:|WARNING:|KASAN|Oops|Kernel panic|general protection|[Ss]oft lockup|INFO: task|rcu.*stall|ODEBUG|kmemleak: ([0-9]+ new|.*disabled)|turning off the locking|proc_dir_entry.*(leak|already)|Unknown symbol'

# pack TO: packs $root, uncompressed because decompression in the machine is slow.
root=$build/root
pack() {
	(cd "$root" && find . | cpio --quiet -o -H newc) >"$1"
}

# start DO: boots the machine with its root in DO.cpio. True if it stopped by itself.
start() {
	local do=$1 disk=$build/disk.img
	rm -f "$build/$do.log" "$build/$do.status" "$build/$do.tar" "$disk"
	truncate -s 64M "$disk"
	mke2fs -q -t ext2 -F "$disk"
	# Without cmpxchg16b: Debian 12's QEMU corrupts flags around it.
	timeout --kill-after=10 "${ESTIBA_DEBUG_SECONDS:-1800}" qemu-system-x86_64 -accel tcg -cpu max,-cx16,-la57 -m 1024 -smp 2 \
		-nographic -no-reboot -nodefaults -monitor none -serial "file:$build/$do.log" \
		-kernel "$kernel/vmlinuz" -initrd "$build/$do.cpio" \
		-append "console=ttyS0 panic=-1 oops=panic panic_print=0x20 log_buf_len=8M loglevel=7 random.trust_cpu=on kasan_multi_shot tsc=reliable tsc_early_khz=$khz estiba.do=$do" \
		-drive "file=$disk,if=none,id=disk,format=raw,cache=unsafe" -device virtio-blk-pci,drive=disk \
		-device virtio-serial-pci \
		-chardev "file,id=status,path=$build/$do.status" -device virtserialport,chardev=status,name=status \
		-chardev "file,id=files,path=$build/$do.tar" -device virtserialport,chardev=files,name=files
}

# witnesses DO: the checks of both boots.
witnesses() {
	local do=$1 last
	last=$(tail -1 "$build/$do.status" 2>/dev/null | tr -d '\r' || true)
	try "$do: status of the machine is '${last:-none}' ($build/$do.status)" [ "$last" = "status 0" ]
	for line in "Linux version $release " 'KernelAddressSanitizer initialized' \
		'kmemleak: Kernel memory leak detector initialized' 'RCU lockdep checking is enabled' \
		'estiba: version ' 'estiba: unloaded' 'reboot: Restarting system'; do
		grep -aqF "$line" "$build/$do.log" || fail "$do: the kernel log lacks '$line' ($build/$do.log)"
	done
}

test_boot() {
	local log=$build/test.log status=$build/test.status documents=$build/documents
	try "test: the machine stopped by itself" start test
	witnesses test
	# The results of the single tests.
	tr -d '\r' <"$status" >"$build/test.text" 2>/dev/null || : >"$build/test.text"
	passed=$((passed + $(grep -c '^--- PASS: ' "$build/test.text" || true)))
	grep '^--- PASS: [^T]' "$build/test.text" || true
	while read -r line; do
		fail "test: $line"
	done < <(grep -E '^--- (FAIL|SKIP): |^panic' "$build/test.text")
	grep -E -A12 '^ *--- FAIL|^panic|^ +[a-z_]+\.go:|^reader: ' "$build/test.text" | head -120 || true
	if [ ! -s "$log" ]; then
		fail "test: no kernel log"
	elif grep -aE "$report" "$log" >"$build/reports"; then
		head -20 "$build/reports"
		fail "test: the kernel reported a bug ($log)"
	else
		ok "test: no kernel bug reports"
	fi
	# Failed large allocations are logged with a call trace.
	sed '/estiba-test: begin .*failing allocations/,/estiba-test: end /d' "$log" >"$build/test.section" 2>/dev/null || true
	if grep -a 'Call Trace' "$build/test.section"; then
		fail "test: unexpected call trace ($log)"
	else
		ok "test: no unexpected call trace"
	fi
	rm -rf "$documents"
	mkdir -p "$documents"
	tar -C "$documents" -xf "$build/test.tar" 2>/dev/null || fail "test: the machine sent no documents"
	try "test: $(find "$documents" -name '*.json' | wc -l) valid documents" schema "$documents"
}
schema() {
	cd "$top" && ESTIBA_DOCUMENTS=$1 go test -count=1 ./kmod/schema
}

# section NAME: the log between the mark of a planted bug and the next mark.
section() {
	awk -v name="$1" '
		/estiba-test: plant / { inside = $0 ~ ("estiba-test: plant " name "\r?$"); next }
		inside { print }' "$build/plant.log"
}
plant_boot() {
	local name pattern found
	try "plant: the machine stopped by itself" start plant
	witnesses plant
	grep -aq 'estiba-test: plant end' "$build/plant.log" || fail "plant: not all bugs were planted ($build/plant.log)"
	while read -r name; do
		section "$name" >"$build/plant.section"
		found=yes
		case $name in
		none)
			if grep -aE "$report" "$build/plant.section"; then found=no; fi
			;;
		# Found by the reader, not by the kernel.
		own_cut_document) ;;
		*) grep -aqE "$report" "$build/plant.section" || found=no ;;
		esac
		while IFS=$'\t' read -r _ pattern; do
			[ -n "$pattern" ] || continue
			grep -aqE "$pattern" "$build/plant.section" || {
				echo "$name: no '$pattern'"
				grep -a 'estiba-test\|reader: \|insmod\|rmmod' "$build/plant.section" | head -20 || true
				found=no
			}
		done < <(grep -P "^$name(\t|\$)" "$here/expected")
		if [ "$name" = none ]; then
			try "plant: no reports for the unmodified module" [ "$found" = yes ]
		else
			try "plant: $name reported" [ "$found" = yes ]
		fi
	done <"$build/plants"
}

try "coding style (checkpatch)" bash "$qemu/style.sh" "$kernel/source"
try "estiba.ko builds, sparse clean" bash "$qemu/module.sh" "$kernel" "$build/module"
try "planted.ko builds" bash "$qemu/module.sh" "$kernel" "$build/planted" "$here/planted"
if bash "$qemu/module.sh" "$kernel" "$build/unchecked" "$here/planted/sparse" >"$build/unchecked.log" 2>&1; then
	fail "sparse misses a plain read of an RCU pointer"
else
	try "sparse finds a plain read of an RCU pointer" grep -q 'different address spaces' "$build/unchecked.log"
fi

for name in shim load suid; do
	gcc -std=gnu11 -O2 -Wall -Wextra -Werror -static -pthread -s -o "$build/programs/$name" "$qemu/programs/$name.c"
done
mv "$build/programs/shim" "$build/programs/containerd-shim-runc-v2"
gcc -std=gnu11 -O2 -Wall -Wextra -Werror -static -s -o "$build/programs/reader" "$here/reader.c"
gcc -std=gnu11 -O2 -Wall -Wextra -Werror -o "$build/tsc" "$here/tsc.c"
khz=$("$build/tsc")
(cd "$top" && export CGO_ENABLED=0 &&
	go test -c -p 2 -trimpath -ldflags '-s -w' -tags estiba_guest -o "$build/programs/guest.test" ./test/machine/qemu/guest &&
	go build -p 2 -trimpath -ldflags '-s -w' -o "$build/programs/exporter" ./exporter)

rm -rf "$root"
mkdir -p "$root/bin"
chmod 755 "$root" # other users run programs there
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$build/programs"/{containerd-shim-runc-v2,load,suid,reader} "$root/bin/"
cp "$here/init" "$root/init"
chmod 755 "$root/init"
strip --strip-debug -o "$root/estiba.ko" "$build/module/estiba.ko"

if [ "$only" != plant ]; then
	cp "$build/programs"/{guest.test,exporter} "$root/bin/"
	if [ -n "$run" ]; then
		echo "-test.run=$run"
	else
		# Skip tests that measure time or memory: this kernel is slow and delays
		# freeing. There is no manager here either.
		echo "-test.skip=^(TestLong|TestTruthTable|TestNothingIsHeld|TestCPUPercent|TestStarvedReaders|TestAllUsersTogether|TestReadersPayForWhatTheyKeep|TestManagerStarts)"
	fi >"$root/test.args"
	pack "$build/test.cpio"
	rm "$root/bin"/{guest.test,exporter}
	test_boot
fi
if [ "$only" != test ]; then
	try "mutants build" bash "$here/mutants.sh" "$kernel" "$build/mutant" "$build/mutants"
	grep -v '^#' "$here/expected" | cut -f1 | uniq >"$build/plants"
	cp "$build/plants" "$root/plants"
	cp -r "$build/mutants" "$root/mutants"
	strip --strip-debug -o "$root/planted.ko" "$build/planted/planted.ko"
	pack "$build/plant.cpio"
	plant_boot
fi
verdict
