#!/usr/bin/env bash
# kernels.sh [--quick] [SUITE…]: tests the module on each supported kernel: 5.10, 6.1, 6.1
# with PREEMPT_RT, 6.12 and the newest of Debian, and two for arm64, one of them with pages
# of 16 kB (see run.sh). A failed download or build is a failure. Prints one line per
# kernel, the verdict last.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
quick=()
if [ "${1:-}" = --quick ]; then
	quick=("$1")
	shift
fi
[ $# -gt 0 ] || set -- bullseye bookworm bookworm-rt bookworm-6.12 sid bookworm-arm64 bookworm-6.12-arm64-16k

passed=0 failed=0 lines=()
mkdir -p "$top/build/qemu"
for suite; do
	log=$top/build/qemu/$suite.log
	started=$SECONDS
	printf '\n== %s\n' "$suite"
	if bash "$here/run.sh" --suite="$suite" "${quick[@]}" 2>&1 | tee "$log"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
	fi
	# Its verdict, or the reason why there is none.
	last=$(tail -1 "$log")
	case $last in
	PASS:* | FAIL:*) ;;
	*) last="FAIL: ${last:-no output}" ;;
	esac
	lines+=("$(printf '%-23s %4d s  %s' "$suite" $((SECONDS - started)) "$last")")
done

printf '\n'
printf '%s\n' "${lines[@]}"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
