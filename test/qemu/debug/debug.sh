#!/usr/bin/env bash
# debug.sh [--only=test|plant] [--run=PATTERN]: the module on a kernel that looks
# for faults (KASAN, lockdep, PROVE_RCU, DEBUG_ATOMIC_SLEEP, kmemleak, fault
# injection), built from Debian's source by kernel.sh. The machine is started
# twice:
#
#   test    the guest suite (../guest; --run chooses its tests), reading and
#           loading while memory fails, many readers while containers come and
#           go, two searches for leaks; the kernel's log has to be clean
#   plant   faults of each sort, out of planted/ and out of broken copies of the
#           module itself (mutants/); the log has to tell each (expected)
#
# Before that: coding style and sparse. Two witnesses for each start: the status
# that the machine sent, and the kernel's log. The verdict comes last.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
qemu=$(dirname "$here")
top=$(cd "$qemu/../.." && pwd)
only='' run=''
for arg; do
	case $arg in
	--only=test | --only=plant) only=${arg#*=} ;;
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
# try WHAT COMMAND…: that it works.
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
# Whatever stops this script before its end is a failure.
trap 'fail "debug.sh ended early"; verdict' EXIT

sh "$qemu/install.sh" bc bison flex patch perl
kernel=$(bash "$here/kernel.sh" "$top/build/cache/kernels")
release=$(cat "$kernel/version")
ok "debug kernel $release"

# What the kernel says of a fault. The start with planted faults proves for each
# of them that this finds it.
complaint='BUG:|WARNING:|KASAN|Oops|Kernel panic|general protection|[Ss]oft lockup|INFO: task|rcu.*stall|ODEBUG|kmemleak: ([0-9]+ new|.*disabled)|turning off the locking|proc_dir_entry.*(leak|already)|Unknown symbol'

# pack TO: what lies in $root, as it is: the machine would be slow at unpacking.
root=$build/root
pack() {
	(cd "$root" && find . | cpio --quiet -o -H newc) >"$1"
}

# start DO: the machine, with its root in DO.cpio. True if it ended by itself.
start() {
	local do=$1 disk=$build/disk.img
	rm -f "$build/$do.log" "$build/$do.status" "$build/$do.tar" "$disk"
	truncate -s 64M "$disk"
	mke2fs -q -t ext2 -F "$disk"
	# cmpxchg16b is switched off: Debian 12's QEMU corrupts flags around it.
	timeout --kill-after=10 "${ESTIBA_DEBUG_SECONDS:-900}" qemu-system-x86_64 -accel tcg -cpu max,-cx16,-la57 -m 1024 -smp 2 \
		-nographic -no-reboot -nodefaults -monitor none -serial "file:$build/$do.log" \
		-kernel "$kernel/vmlinuz" -initrd "$build/$do.cpio" \
		-append "console=ttyS0 panic=-1 oops=panic loglevel=7 random.trust_cpu=on kasan_multi_shot tsc=reliable tsc_early_khz=$khz estiba.do=$do" \
		-drive "file=$disk,if=none,id=disk,format=raw,cache=unsafe" -device virtio-blk-pci,drive=disk \
		-device virtio-serial-pci \
		-chardev "file,id=status,path=$build/$do.status" -device virtserialport,chardev=status,name=status \
		-chardev "file,id=files,path=$build/$do.tar" -device virtserialport,chardev=files,name=files
}

# witnesses DO: what both starts have in common.
witnesses() {
	local do=$1 last
	last=$(tail -1 "$build/$do.status" 2>/dev/null | tr -d '\r' || true)
	try "$do: the machine's status is '${last:-none}' ($build/$do.status)" [ "$last" = "status 0" ]
	for line in "Linux version $release " 'KernelAddressSanitizer initialized' \
		'kmemleak: Kernel memory leak detector initialized' 'RCU lockdep checking is enabled' \
		'estiba: version ' 'estiba: unloaded' 'reboot: Restarting system'; do
		grep -aqF "$line" "$build/$do.log" || fail "$do: the kernel's log has no '$line' ($build/$do.log)"
	done
}

test_boot() {
	local log=$build/test.log status=$build/test.status documents=$build/documents
	try "test: the machine ended by itself" start test
	witnesses test
	# What the machine says it did, test by test.
	tr -d '\r' <"$status" >"$build/test.text" 2>/dev/null || : >"$build/test.text"
	passed=$((passed + $(grep -c '^--- PASS: ' "$build/test.text" || true)))
	grep '^--- PASS: [^T]' "$build/test.text" || true
	while read -r line; do
		fail "test: $line"
	done < <(grep -E '^--- (FAIL|SKIP): |^panic' "$build/test.text")
	grep -E -A12 '^ *--- FAIL|^panic|^ +[a-z_]+\.go:|^reader: ' "$build/test.text" | head -120 || true
	if [ ! -s "$log" ]; then
		fail "test: the machine has no log"
	elif grep -aE "$complaint" "$log" >"$build/complaints"; then
		head -20 "$build/complaints"
		fail "test: the kernel complained ($log)"
	else
		ok "test: no complaint of the kernel"
	fi
	# A large allocation that fails is told with a trace of its own.
	sed '/estiba-test: begin .*memory fails/,/estiba-test: end /d' "$log" >"$build/test.section" 2>/dev/null || true
	if grep -a 'Call Trace' "$build/test.section"; then
		fail "test: a call trace ($log)"
	else
		ok "test: no call trace"
	fi
	rm -rf "$documents"
	mkdir -p "$documents"
	tar -C "$documents" -xf "$build/test.tar" 2>/dev/null || fail "test: no documents came out of the machine"
	try "test: $(find "$documents" -name '*.json' | wc -l) documents follow the schema" schema "$documents"
}
schema() {
	cd "$top" && ESTIBA_DOCUMENTS=$1 go test -count=1 ./kmod/schema
}

# section NAME: the log between the mark of the plant and the next mark.
section() {
	awk -v name="$1" '
		/estiba-test: plant / { inside = $0 ~ ("estiba-test: plant " name "\r?$"); next }
		inside { print }' "$build/plant.log"
}
plant_boot() {
	local name pattern found
	try "plant: the machine ended by itself" start plant
	witnesses plant
	grep -aq 'estiba-test: plant end' "$build/plant.log" || fail "plant: not all were planted ($build/plant.log)"
	while read -r name; do
		section "$name" >"$build/plant.section"
		found=yes
		case $name in
		none)
			if grep -aE "$complaint" "$build/plant.section"; then found=no; fi
			;;
		# The reader's find, not the kernel's.
		own_cut_document) ;;
		*) grep -aqE "$complaint" "$build/plant.section" || found=no ;;
		esac
		while IFS=$'\t' read -r _ pattern; do
			[ -n "$pattern" ] || continue
			grep -aqE "$pattern" "$build/plant.section" || {
				echo "$name: no '$pattern'"
				found=no
			}
		done < <(grep -P "^$name(\t|\$)" "$here/expected")
		if [ "$name" = none ]; then
			try "plant: nothing is told of the module as it is" [ "$found" = yes ]
		else
			try "plant: $name is found" [ "$found" = yes ]
		fi
	done <"$build/plants"
}

try "coding style (checkpatch)" bash "$qemu/style.sh" "$kernel/source"
try "estiba.ko builds, sparse clean" bash "$qemu/module.sh" "$kernel" "$build/module"
try "planted.ko builds" bash "$qemu/module.sh" "$kernel" "$build/planted" "$here/planted"
if bash "$qemu/module.sh" "$kernel" "$build/unchecked" "$here/planted/sparse" >"$build/unchecked.log" 2>&1; then
	fail "sparse does not find a plain read of an RCU pointer"
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
	go test -c -p 2 -trimpath -ldflags '-s -w' -tags estiba_guest -o "$build/programs/guest.test" ./test/qemu/guest &&
	go build -p 2 -trimpath -ldflags '-s -w' -o "$build/programs/exporter" ./exporter)

rm -rf "$root"
mkdir -p "$root/bin"
chmod 755 "$root" # other users run programs there, too
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
		# Not those that measure time, or how much memory comes back: this kernel is
		# slow, and keeps what is freed.
		echo "-test.skip=^(TestLong|TestTruthTable|TestNothingIsHeld|TestCPUPercent)"
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
