#!/usr/bin/env bash
# cost.sh [--suite=bookworm] [--cpus=N] [CONTAINERS…]: measures the cost of one document
# in guest instructions, and that of programs that read the same processes from /proc
# (default: 100, 1000 and 10000 containers). The machine has one CPU and counts
# instructions as nanoseconds, so the figures hardly depend on the load of the host.
# --cpus is the number of CPUs for which the kernel keeps per-CPU counters. Prints the
# table of docs/performance.md.
#
# Fails if the module exceeds its budget: 12 million instructions at 1,000 containers,
# and 12,000 for each one beyond.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
suite=bookworm cpus=1
counts=()
for arg; do
	case $arg in
	--suite=*) suite=${arg#*=} ;;
	--cpus=*) cpus=${arg#*=} ;;
	*[!0-9]* | '')
		echo "cost.sh: unknown argument $arg" >&2
		exit 2
		;;
	*) counts+=("$arg") ;;
	esac
done
[ ${#counts[@]} -gt 0 ] || counts=(100 1000 10000)

build=$top/build/qemu/cost-$suite
mkdir -p "$build"
sh "$here/install.sh"
kernel=$(bash "$here/kernel.sh" "$suite" "$top/build/cache/kernels")
release=$(cat "$kernel/version")
[ ! -e "$kernel/arch" ] || {
	echo "cost.sh: the kernel of $suite is for another architecture" >&2
	exit 2
}
bash "$here/module.sh" "$kernel" "$build/module"

root=$build/root
rm -rf "$root"
mkdir -p "$root/modules"
gcc -std=gnu11 -O2 -Wall -Wextra -Werror -static -o "$root/init" "$here/programs/cost.c"
strip --strip-debug -o "$root/estiba.ko" "$build/module/estiba.ko"
modprobe -d "$kernel/root" -S "$release" --show-depends dummy |
	awk '$1 == "insmod" {print $2}' | while read -r file; do
	# The program loads uncompressed modules only.
	name=$(basename "$file" .xz)
	case $file in
	*.xz) xz -dc "$file" >"$root/modules/$name" ;;
	*) cp "$file" "$root/modules/" ;;
	esac
	echo "$name" >>"$root/modules/order"
done
(cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$build/initramfs.gz"

failed=0
rows=()
for n in "${counts[@]}"; do
	log=$build/$n-$cpus.log
	rm -f "$log"
	# Memory that the containers do not use is never touched.
	timeout --kill-after=10 3000 qemu-system-x86_64 \
		-accel tcg,thread=single -smp 1 -icount shift=0,sleep=off -cpu max,-cx16 \
		-m $((512 + n * 13 / 10)) -nographic -no-reboot -nodefaults -monitor none -serial "file:$log" \
		-kernel "$kernel/root/boot/vmlinuz-$release" -initrd "$build/initramfs.gz" \
		-append "console=ttyS0 panic=-1 oops=panic loglevel=4 possible_cpus=$cpus random.trust_cpu=on containers=$n" ||
		echo "cost.sh: qemu failed or timed out" >&2
	if ! grep -aq '^cost: status 0' "$log"; then
		echo "cost.sh: $n containers: measurement failed ($log)" >&2
		grep -a '^cost:' "$log" | tail -3 >&2
		failed=1
		continue
	fi
	if grep -aE 'BUG:|WARNING:|Oops|Call Trace|soft lockup|rcu.*stall' "$log" >&2; then
		failed=1
	fi
	value() {
		tr -d '\r' <"$log" | awk -v key="$1" '$1 == "cost:" && $2 == key {print $3}'
	}
	module=$(value module)
	rows+=("$(awk -v n="$n" -v p="$(value processes)" -v b="$(value bytes)" -v m="$module" -v build="$(value build)" \
		-v first="$(value first)" -v f="$(value full)" -v l="$(value lean)" -v late="$(value latency)" \
		-v idle="$(value idle_latency)" -v kb="$(value held_kb)" 'BEGIN {
		printf "| %d | %d | %d kB | %.2f | %.2f | %.2f | %.1f | %.1f | %.0f × | %.0f × | %.0f | %.0f | %d kB |",
			n, p, b / 1000, m / 1e6, build / 1e6, first / 1e6, f / 1e6, l / 1e6, f / m, l / m, late / 1e3, idle / 1e3, kb}')")
	if [ "$n" -ge 1000 ] && [ "$cpus" -eq 1 ] && [ "$module" -gt $((n * 12000)) ]; then
		echo "cost.sh: $n containers: $module instructions, limit $((n * 12000))" >&2
		failed=1
	fi
done
echo "Linux $release, counters for $cpus CPUs, millions of instructions; stretches in thousands:"
echo
echo "| containers | processes | document | module | of it building | first one | stat, status, io, cmdline | stat, io | ratio | ratio to the lean one | longest stretch | without the module | held |"
echo "|---|---|---|---|---|---|---|---|---|---|---|---|---|"
[ ${#rows[@]} -eq 0 ] || printf '%s\n' "${rows[@]}"
exit $failed
