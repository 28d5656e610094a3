#!/usr/bin/env bash
# run.sh PACKAGE…: fails if a module that is linked into the packages has no licence,
# an unknown one, or one that is not in the list below.
set -euo pipefail

# Each requires no more than that its text is passed on. MPL-2.0 also requires the
# source of files of its own that were changed; none is.
allowed=Apache-2.0,MIT,BSD-2-Clause,BSD-3-Clause,ISC,0BSD,MPL-2.0

[ $# -gt 0 ] || {
	echo "run.sh: want packages" >&2
	exit 2
}
export CGO_ENABLED=0
# shellcheck source=../go.sh
. "$(dirname "$0")/../go.sh"
checker=$(go -C "$(dirname "$0")" tool -n go-licenses)
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
# It logs each package with assembly as a warning.
"$checker" check "$@" --allowed_licenses="$allowed" --ignore=github.com/estiba/estiba \
	--logtostderr=false --stderrthreshold=ERROR --log_dir="$logs"
echo "licences of $*: all are in $allowed"
