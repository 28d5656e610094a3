#!/usr/bin/env bash
# run.sh [--run=PATTERN] [--soak=MINUTES [--seed=N]]: boots a Docker host with Debian's
# kernel in QEMU and runs the whole system there, from loading the kernel module to killing
# containers: module, exporter, Prometheus, Alertmanager, manager, generator. The verdict
# comes last, from two witnesses: the status sent by the machine, and the kernel log. A
# missing status is a failure: the machine crashed. With --soak the system runs under
# random faults instead (see docs/reliability.md); the same seed gives the same faults.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
# shellcheck source=../../../tools/go.sh
. "$top/tools/go.sh"
pattern='' soak='' seed=''
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

# Time limit of the machine in seconds; raise it on a busy host.
limit=${ESTIBA_TEST_LIMIT:-900}
arguments=() kernel_arguments=
if [ -n "$soak" ]; then
	pattern=TestSoak
	seed=${seed:-$RANDOM}
	# Allow for starting, recovery from the last fault, and settling.
	limit=$((soak * 60 + 1200))
	arguments=("-soak=${soak}m" "-seed=$seed")
	# On a busy host an emulated CPU may stall longer than the kernel's default
	# timeouts.
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

sh "$top/test/machine/qemu/install.sh"
sh "$here/install.sh"
kernel=$(bash "$top/test/machine/qemu/kernel.sh" bookworm "$top/build/cache/kernels")
release=$(cat "$kernel/version")
say "kernel $release"
disk=$(bash "$here/root.sh" "$kernel" "$top/build/cache/vm")
say "disk of the Docker host ($(du -h "$disk" | cut -f1))"
bash "$top/test/machine/qemu/module.sh" "$kernel" "$build/module"
say "estiba.ko built, sparse clean"

"$top/tools/build.sh" prometheus alertmanager kustomize
payload=$build/payload
rm -rf "$payload"
mkdir -p "$payload/bin" "$payload/manager"
# A module of its own, so that ./... leaves its copies out.
printf 'module payload\n' >"$payload/go.mod"
cd "$top"
export CGO_ENABLED=0
for program in exporter manager generator; do
	go build -p 2 -trimpath -ldflags '-s -w' -o "$payload/bin/$program" "./$program"
done
go test -c -p 2 -tags estiba_vm -ldflags '-s -w' -o "$payload/bin/guest.test" ./test/machine/vm/guest
cp build/bin/prometheus build/bin/alertmanager "$(command -v busybox)" "$payload/bin/"
cp -r prometheus "$payload/prometheus"
cp -r manager/policies "$payload/manager/policies"
mkdir "$payload/kubernetes"
for manifests in base overlays/kube-prometheus-stack; do
	build/bin/kustomize build "exporter/packaging/kubernetes/$manifests" >"$payload/kubernetes/$(basename "$manifests").yaml"
done
cp "$here/init" "$payload/init"
strip --strip-debug -o "$payload/estiba.ko" "$build/module/estiba.ko"
# The test times out before the machine does.
printf -- '-test.timeout=%ds\n' $((limit - 60)) >"$payload/test.args"
# TestRuntimes takes as long as all others: make test-vm-runtimes. TestKubernetes has a
# machine of its own, since it counts all containers: make test-vm-kubernetes.
if [ -n "$pattern" ]; then
	printf -- '-test.run=%s\n' "$pattern" >>"$payload/test.args"
else
	echo '-test.skip=^(TestRuntimes|TestKubernetes)$' >>"$payload/test.args"
fi
[ ${#arguments[@]} -eq 0 ] || printf '%s\n' "${arguments[@]}" >>"$payload/test.args"
tar -C "$payload" -cf "$build/payload.tar" .
say "programs built and packed ($(du -h "$build/payload.tar" | cut -f1))"

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
say "starting the machine"
# Without cmpxchg16b: Debian 12's QEMU corrupts flags around it. Without five-level page
# tables and CPU mitigations, which only cost time.
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
# Show its progress.
tail -n +1 --pid="$machine" -f "$status" | sed -u 's|\r||g' | grep --line-buffered -E '^(vm: |\||Largest| *--- )' || true
wait "$machine" || fail "qemu failed or timed out"
trap - EXIT
say "machine stopped"

# First witness: the status of the machine.
passed=$(grep -acE '^ *--- PASS' "$status" || true)
last=$(tail -1 "$status" | tr -d '\r')
if [ "$last" != "status 0" ]; then
	fail "status of the machine is '${last:-none}' ($status)"
	grep -aE -A12 '^ *--- FAIL|^panic|^ +[a-z_]+\.go:' "$status" | head -120 || true
fi

# Second witness: the kernel log.
has() {
	if grep -aqE "$1" "$log"; then
		passed=$((passed + 1))
	else
		fail "the kernel log lacks '$1' ($log)"
	fi
}
has "Linux version ${release//./\\.} "
has 'estiba: version [0-9.]+ loaded'
[ -n "$pattern" ] || has 'Memory cgroup out of memory: Killed process'
has 'estiba: unloaded'
has 'reboot: Power down'
# Each OOM kill, which the test provokes, logs a call trace.
if sed -e '/invoked oom-killer/,/oom-kill:constraint=CONSTRAINT_MEMCG/d' -e '/ommand line: /d' -e '/stall warnings timeout set/d' "$log" |
	grep -aE 'BUG:|WARNING:|Oops|Call Trace|Kernel panic|general protection|soft lockup|rcu.*stall|proc_dir_entry.*(leak|already)|Unknown symbol|invoked oom-killer'; then
	fail "the kernel reported a bug ($log)"
else
	passed=$((passed + 1))
fi

# Validate the documents of module and exporter against the schema.
tar -C "$out" -xf "$build/out.tar" 2>/dev/null || fail "the machine sent no documents"
if ESTIBA_DOCUMENTS=$out go test -count=1 ./kmod/schema; then
	passed=$((passed + 1))
else
	fail "a document violates the schema ($out)"
fi

[ -z "$soak" ] || say "all observations: $out/history.jsonl"
say "done"
[ ${#failures[@]} -eq 0 ] || printf '%s\n' "${failures[@]/#/failed: }"
printf '%d passed, %d failed\n' "$passed" "${#failures[@]}"
[ ${#failures[@]} -eq 0 ]
