#!/bin/sh
# Builds pinned third-party programs from their Go modules into build/bin:
#
#   tools/build.sh prometheus promtool alertmanager amtool
#
# A program is built again only when its pin or these options change. While
# they compile, a line every 15 s says so.
set -eu
cd "$(dirname "$0")"
out=$(cd .. && pwd)/build/bin
mkdir -p "$out"

# Each module pins its own release: Prometheus wants a newer Alertmanager in
# its module than the one that carries its web page.
upstream() {
    case $1 in
    .) echo github.com/prometheus/prometheus ;;
    alertmanager) echo github.com/prometheus/alertmanager ;;
    esac
}

# version is the pinned release. Module v0.313.5 of Prometheus is release 3.13.5.
version() {
    module_version=$(cd "$1" && go list -m -f '{{.Version}}' "$(upstream "$1")")
    case $1 in
    .) echo "$module_version" | sed 's/^v0\.\([0-9]\)/\1./' ;;
    *) echo "${module_version#v}" ;;
    esac
}

stamp() { echo "$(cksum <"$1/go.sum") $(cksum <build.sh) $(go env GOVERSION)"; }

# stale lists those of the programs in module $1 that have to be built.
stale() {
    module=$1
    shift
    for name in "$@"; do
        if ! [ -x "$out/$name" ] || [ "$(cat "$out/.$name.stamp" 2>/dev/null)" != "$(stamp "$module")" ]; then
            echo "$name"
        fi
    done
}

# compile builds the named programs of module $1. remove_all_sd drops the cloud
# service discoveries: none is used here, and they are most of the compile
# time. Files, HTTP and static targets stay, and Docker's own (enable_moby_sd).
compile() {
    module=$1
    shift
    release=$(version "$module") packages=
    for name in "$@"; do packages="$packages $(upstream "$module")/cmd/$name"; done
    # shellcheck disable=SC2086
    (cd "$module" && CGO_ENABLED=0 exec go build -tags remove_all_sd,enable_moby_sd,netgo -trimpath \
        -ldflags "-s -w -X github.com/prometheus/common/version.Version=$release" -o "$out/" $packages)
    for name in "$@"; do stamp "$module" >"$out/.$name.stamp"; done
}

prometheus='' alertmanager=''
for name in "$@"; do
    case $name in
    prometheus | promtool) prometheus="$prometheus $name" ;;
    alertmanager | amtool) alertmanager="$alertmanager $name" ;;
    *)
        echo "tools/build.sh: unknown program $name: want prometheus, promtool, alertmanager or amtool" >&2
        exit 2
        ;;
    esac
done
# shellcheck disable=SC2086
prometheus=$(stale . $prometheus) alertmanager=$(stale alertmanager $alertmanager)
what=$(echo $prometheus $alertmanager)
[ -n "$what" ] || exit 0

echo "compiling $what"
started=$(date +%s)
compilers=
# The two modules compile side by side: linking uses one core only.
# shellcheck disable=SC2086
if [ -n "$prometheus" ]; then
    compile . $prometheus &
    compilers="$compilers $!"
fi
# shellcheck disable=SC2086
if [ -n "$alertmanager" ]; then
    compile alertmanager $alertmanager &
    compilers="$compilers $!"
fi
trap 'kill $compilers 2>/dev/null; exit 130' INT TERM HUP
(
    while sleep 15; do echo "  still compiling $what, $(($(date +%s) - started)) s"; done
) &
heartbeat=$!
status=0
for compiler in $compilers; do wait "$compiler" || status=$?; done
kill "$heartbeat" 2>/dev/null
[ "$status" -eq 0 ] || exit "$status"
echo "compiled $what in $(($(date +%s) - started)) s"
