#!/usr/bin/env bash
# kernels.sh [SUITE…]: tests the module on each kernel it is made for: 5.10, 6.1,
# 6.12 and the newest that Debian has (see run.sh). A kernel that cannot be
# fetched or built is a failure like any other. One line a kernel, the verdict
# last.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
[ $# -gt 0 ] || set -- bullseye bookworm bookworm-6.12 sid

passed=0 failed=0 lines=()
mkdir -p "$top/build/qemu"
for suite; do
	log=$top/build/qemu/$suite.log
	started=$SECONDS
	printf '\n== %s\n' "$suite"
	if bash "$here/run.sh" --suite="$suite" 2>&1 | tee "$log"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
	fi
	# Its own verdict, or the reason why it came to none.
	last=$(tail -1 "$log")
	case $last in
	PASS:* | FAIL:*) ;;
	*) last="FAIL: ${last:-no word of it}" ;;
	esac
	lines+=("$(printf '%-13s %4d s  %s' "$suite" $((SECONDS - started)) "$last")")
done

printf '\n'
printf '%s\n' "${lines[@]}"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
