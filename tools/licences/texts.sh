#!/usr/bin/env bash
# texts.sh PACKAGE…: prints the licences, and the notices, of every module that is
# linked into the packages, and of Go itself: what is passed on with the programs.
# run.sh has checked that they ask for no more.
set -euo pipefail
export LC_ALL=C CGO_ENABLED=0
# shellcheck source=../go.sh
. "$(dirname "$0")/../go.sh"

# print NAME FOLDER: the texts in the folder. Without a licence there is nothing to
# pass on, and so nothing may be linked.
print() {
	local name=$1 folder=$2 file licence=
	for file in "$folder"/*; do
		case ${file##*/} in
		LICENSE* | LICENCE* | COPYING*) licence=yes ;;
		NOTICE*) ;;
		*) continue ;;
		esac
		printf '%s\n%s: %s\n\n' "================================================================" "$name" "${file##*/}"
		cat "$file"
		echo
	done
	[ -n "$licence" ] || {
		echo "texts.sh: $name has no licence in $folder" >&2
		exit 1
	}
}

echo "The programs contain the following modules, under these licences."
echo
print "Go standard library" "$(go env GOROOT)"
# Another architecture may link another module.
for arch in amd64 arm64; do
	GOOS=linux GOARCH=$arch go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' "$@"
done | sort -u | while read -r path version folder; do print "$path $version" "$folder"; done
