#!/usr/bin/env bash
# run.sh [PACKAGE…]: looks for known vulnerabilities in what our programs really
# call, with the pinned govulncheck. It asks the Go project's database on the
# Internet, or the one at VULNDB: a copy of it as https://… or file:///….
#
# Ends with 0 if there are none, 3 if there are, 1 if that is not known.
set -uo pipefail
cd "$(dirname "$0")"
database=${VULNDB:-https://vuln.go.dev}
[ $# -gt 0 ] || set -- ./exporter ./manager ./generator

said=$(mktemp)
trap 'rm -f "$said"' EXIT
# What Go itself has and has not is judged by the version that builds.
govulncheck=$(go tool -n govulncheck) || exit 1
(cd ../.. && "$govulncheck" -db "$database" "$@") 2>&1 | tee "$said"
status=${PIPESTATUS[0]}
case $status in
0 | 3) ;;
*)
    status=1
    if grep -qE "fetching vulnerabilities|creating client" "$said"; then
        echo "vulncheck: the database at $database cannot be reached from here, so nothing is known: run this where it can, or name a copy in VULNDB" >&2
    fi
    ;;
esac
exit "$status"
