#!/usr/bin/env bash
# run.sh [--format]
#
# Runs every linter over the whole tree, whatever one of them finds. A linter that
# cannot run is a failure. They are configured in .golangci.yml, .shellcheckrc,
# .editorconfig (shfmt) and .yamllint. The kernel's own checkpatch checks the C code,
# in test/machine/qemu/style.sh, where the kernel's source is.
#
# With --format it changes files instead: the layout of Go code and of shell scripts.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$PWD/build/bin
# shellcheck source=../go.sh
. tools/go.sh
# Without Git's list of files there would be nothing to find anything in.
git ls-files --error-unmatch Makefile >/dev/null
# As the tests compile, so that nothing is compiled twice.
export CGO_ENABLED=0 GOFLAGS=-trimpath

# modules prints the folders of the modules that have Go code of ours.
modules() {
	local dir
	git ls-files '*.go' | while read -r dir; do
		until [ -f "$dir/go.mod" ]; do
			case $dir in
			*/*) dir=${dir%/*} ;;
			*) dir=. ;;
			esac
		done
		printf '%s\n' "$dir"
	done | sort -u
}

# scripts prints the shell scripts, known by their name or their first line, each with
# a NUL after it.
scripts() {
	local file first
	git ls-files -z | while IFS= read -r -d '' file; do
		[ -f "$file" ] || continue
		case $file in
		*.sh) first='#!/bin/sh' ;;
		*) IFS= read -r first <"$file" || true ;;
		esac
		if [[ $first =~ ^#!.*[/\ ](ba|da)?sh(\ |$) ]]; then printf '%s\0' "$file"; fi
	done
}

# golangci-lint reads one module at a time.
lint_go() {
	local dir status=0
	for dir in $(modules); do
		(cd "$dir" && "$bin/golangci-lint" run ./...) || status=1
	done
	return "$status"
}

# ShellCheck knows no busybox; its shell is an Almquist shell, as dash is.
lint_shell() {
	local file first status=0
	while IFS= read -r -d '' file; do
		IFS= read -r first <"$file"
		case $first in
		*busybox*) shellcheck --format=gcc --shell=dash "$file" || status=1 ;;
		*) shellcheck --format=gcc "$file" || status=1 ;;
		esac
	done < <(scripts)
	return "$status"
}

lint_shell_format() { scripts | xargs -0 "$bin/shfmt" --diff; }

lint_yaml() { git ls-files -z '*.yml' '*.yaml' .yamllint | xargs -0 yamllint --strict; }

if [ "${1:-}" = --format ]; then
	for dir in $(modules); do (cd "$dir" && "$bin/golangci-lint" fmt); done
	scripts | xargs -0 "$bin/shfmt" --write
	exit
fi

failed=()
linter() {
	local name=$1 started=$SECONDS
	shift
	if "$@"; then
		printf '%s: clean, %d s\n' "$name" $((SECONDS - started))
	else
		printf '%s: FAILED, %d s\n' "$name" $((SECONDS - started))
		failed+=("$name")
	fi
}

linter golangci-lint lint_go
linter shellcheck lint_shell
linter shfmt lint_shell_format
linter yamllint lint_yaml
if [ ${#failed[@]} -gt 0 ]; then
	printf 'lint: failed: %s\n' "${failed[*]}"
	exit 1
fi
