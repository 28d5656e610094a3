#!/usr/bin/env bash
# run.sh [--run=PATTERN] [--soak=MINUTES [--seed=N]]: boots a Docker host with Debian's own kernel in QEMU
# and runs all of Estiba there, from loading the kernel module to a killed
# container: module, exporter, Prometheus, Alertmanager, manager, generator.
# The verdict comes last, and rests on two witnesses: the status that the
# machine sent, and the kernel's log. No status is a failure: the machine was
# lost. With --soak the system runs there for a time under random faults instead
# (see docs/reliability.md); the same seed makes the same faults.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
pattern= soak= seed=
for arg; do
	case $arg in
	--run=*) pattern=${arg#*=} ;;
	--soak=*) soak=${arg#*=} ;;
	--seed=*) seed=${arg#*=} ;;
	*)
		echo "run.sh: unknown argument $arg" >&2
		exit 2
		;;
	esac
done

# Seconds that the machine may run; more for a host that is busy with other work.
limit=${ESTIBA_TEST_LIMIT:-480}
arguments=() kernel_arguments=
if [ -n "$soak" ]; then
	pattern=TestSoak
	seed=${seed:-$RANDOM}
	# Before and after the faults the system starts and comes to rest, and the
	# last fault may want its time to recover.
	limit=$((soak * 60 + 1200))
	arguments=("-soak=${soak}m" "-seed=$seed")
	# In hours beside other work an emulated processor stands still for longer
	# than the kernel allows a real one.
	kernel_arguments="rcupdate.rcu_cpu_stall_timeout=180 watchdog_thresh=60"
	echo "soak of $soak minutes, SEED=$seed"
fi

build=$top/build/vm
mkdir -p "$build" "$top/build/cache/kernels"
failures=()
passed=0
fail() {
	failures+=("$*")
	echo "FAIL: $*"
}
say() {
	printf '%4d s  %s\n' "$SECONDS" "$*"
}

sh "$top/test/qemu/install.sh"
sh "$here/install.sh"
kernel=$(bash "$top/test/qemu/kernel.sh" bookworm "$top/build/cache/kernels")
release=$(cat "$kernel/version")
say "kernel $release"
disk=$(bash "$here/root.sh" "$kernel" "$top/build/cache/vm")
say "disk of the Docker host ($(du -h "$disk" | cut -f1))"
bash "$top/test/qemu/module.sh" "$kernel" "$build/module"
say "estiba.ko built, sparse clean"

"$top/tools/build.sh" prometheus alertmanager
payload=$build/payload
rm -rf "$payload"
mkdir -p "$payload/bin" "$payload/manager"
cd "$top"
export CGO_ENABLED=0
for program in exporter manager generator; do
	go build -p 2 -trimpath -ldflags '-s -w' -o "$payload/bin/$program" "./$program"
done
go test -c -p 2 -tags estiba_vm -ldflags '-s -w' -o "$payload/bin/guest.test" ./test/vm/guest
cp build/bin/prometheus build/bin/alertmanager "$(command -v busybox)" "$payload/bin/"
cp -r prometheus "$payload/prometheus"
cp -r manager/policies "$payload/manager/policies"
cp "$here/init" "$payload/init"
strip --strip-debug -o "$payload/estiba.ko" "$build/module/estiba.ko"
# The test gives up before the machine is switched off.
printf -- '-test.timeout=%ds\n' $((limit - 60)) >"$payload/test.args"
[ -z "$pattern" ] || printf -- '-test.run=%s\n' "$pattern" >>"$payload/test.args"
[ ${#arguments[@]} -eq 0 ] || printf '%s\n' "${arguments[@]}" >>"$payload/test.args"
tar -C "$payload" -cf "$build/payload.tar" .
say "programs built, packed ($(du -h "$build/payload.tar" | cut -f1))"

initramfs=$build/initramfs
rm -rf "$initramfs"
mkdir -p "$initramfs/bin" "$initramfs/modules"
cp "$(command -v busybox)" "$initramfs/bin/"
cp "$here/init.initramfs" "$initramfs/init"
chmod 755 "$initramfs/init"
for name in virtio_pci virtio_console virtio_blk ext4; do
	modprobe -d "$kernel/root" -S "$release" --show-depends "$name"
done | awk '$1 == "insmod" && !seen[$2]++ {print $2}' | while read -r file; do
	cp "$file" "$initramfs/modules/"
	basename "$file" >>"$initramfs/modules/order"
done
(cd "$initramfs" && find . | cpio --quiet -o -H newc | gzip -1) >"$build/initramfs.gz"

log=$build/kernel.log status=$build/status.log out=$build/out
rm -rf "$log" "$status" "$build/out.tar" "$out"
mkdir -p "$out"
: >"$status"
say "machine starts"
# cmpxchg16b is switched off: Debian 12's QEMU corrupts flags around it. A
# fifth level of page tables and what the kernel does against faults of real
# processors would only cost time.
timeout --kill-after=10 "$limit" qemu-system-x86_64 -accel tcg -cpu max,-cx16,-la57 -m 4096 -smp 2 \
	-nographic -no-reboot -nodefaults -monitor none -serial "file:$log" \
	-kernel "$kernel/root/boot/vmlinuz-$release" -initrd "$build/initramfs.gz" \
	-append "console=ttyS0 panic=-1 oops=panic loglevel=7 random.trust_cpu=on mitigations=off audit=0 $kernel_arguments" \
	-drive "file=$disk,if=none,id=root,format=raw,snapshot=on,cache=unsafe" -device virtio-blk-pci,drive=root \
	-drive "file=$build/payload.tar,if=none,id=payload,format=raw,readonly=on" -device virtio-blk-pci,drive=payload \
	-device virtio-serial-pci \
	-chardev "file,id=status,path=$status" -device virtserialport,chardev=status,name=status \
	-chardev "file,id=files,path=$build/out.tar" -device virtserialport,chardev=files,name=files &
machine=$!
trap 'kill $machine 2>/dev/null || true' EXIT
# What the machine says meanwhile.
tail -n +1 --pid="$machine" -f "$status" | sed -u 's|\r||g' | grep --line-buffered -E '^(vm: |\||Largest| *--- )' || true
wait "$machine" || fail "qemu ended with an error or took too long"
trap - EXIT
say "machine ended"

# First witness: what the machine sent.
passed=$(grep -acE '^ *--- PASS' "$status" || true)
last=$(tail -1 "$status" | tr -d '\r')
if [ "$last" != "status 0" ]; then
	fail "the machine's status is '${last:-none}' ($status)"
	grep -aE -A12 '^ *--- FAIL|^panic|^ +[a-z_]+\.go:' "$status" | head -120 || true
fi

# Second witness: the kernel's log.
has() {
	if grep -aqE "$1" "$log"; then
		passed=$((passed + 1))
	else
		fail "the kernel's log has no '$1' ($log)"
	fi
}
has "Linux version ${release//./\\.} "
has 'estiba: version [0-9.]+ loaded'
[ -n "$soak" ] || has 'Memory cgroup out of memory: Killed process'
has 'estiba: unloaded'
has 'reboot: Power down'
# The kernel prints a trace with each container that runs out of memory, as the
# test makes some do.
if sed -e '/invoked oom-killer/,/oom-kill:constraint=CONSTRAINT_MEMCG/d' -e '/ommand line: /d' -e '/stall warnings timeout set/d' "$log" |
	grep -aE 'BUG:|WARNING:|Oops|Call Trace|Kernel panic|general protection|soft lockup|rcu.*stall|proc_dir_entry.*(leak|already)|Unknown symbol|invoked oom-killer'; then
	fail "the kernel complained ($log)"
else
	passed=$((passed + 1))
fi

# What module and exporter wrote, against the schema.
tar -C "$out" -xf "$build/out.tar" 2>/dev/null || fail "no documents came out of the machine"
if ESTIBA_DOCUMENTS=$out go test -count=1 ./kmod/schema; then
	passed=$((passed + 1))
else
	fail "a document of the machine does not follow the schema ($out)"
fi

[ -z "$soak" ] || say "all that was seen: $out/history.jsonl"
say "done"
[ ${#failures[@]} -eq 0 ] || printf '%s\n' "${failures[@]/#/failed: }"
printf '%d passed, %d failed\n' "$passed" "${#failures[@]}"
[ ${#failures[@]} -eq 0 ]
