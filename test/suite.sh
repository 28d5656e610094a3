# shellcheck shell=bash
# To be sourced. suite COMMAND… runs a suite and notes whether it failed; summary says so in
# the end.
export CI=true
# The version of Go that go.mod names, whatever an image for building sets.
export GOTOOLCHAIN=auto
failed=()

suite() {
	local started=$SECONDS
	printf '\n#### %s\n' "$*"
	if "$@"; then
		printf '#### %s: passed in %d s\n' "$*" $((SECONDS - started))
	else
		printf '#### %s: FAILED after %d s\n' "$*" $((SECONDS - started))
		failed+=("$*")
	fi
}

summary() {
	if [ ${#failed[@]} -gt 0 ]; then
		printf '\n#### failed, of all in %d s:\n' "$SECONDS"
		printf '####   %s\n' "${failed[@]}"
		return 1
	fi
	printf '\n#### all passed in %d s\n' "$SECONDS"
}
