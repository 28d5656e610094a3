#!/bin/sh
# Builds pinned third-party programs from their Go modules into build/bin:
#
#   tools/build.sh prometheus promtool alertmanager amtool golangci-lint shfmt helm kustomize
#   tools/build.sh victoria-metrics vmagent vmalert
#
# A program is built again only when its pin or these options change. While
# they compile, a line every 15 s says so.
set -eu
cd "$(dirname "$0")"
# shellcheck source=go.sh
. ./go.sh
out=$(cd .. && pwd)/build/bin
mkdir -p "$out"

# upstream is the module of program $1. Each of our modules pins its own release:
# Prometheus wants a newer Alertmanager in its module than the one that carries its
# web page, and what the linters need is in no program of ours.
upstream() {
	case $1 in
	prometheus | promtool) echo github.com/prometheus/prometheus ;;
	alertmanager | amtool) echo github.com/prometheus/alertmanager ;;
	golangci-lint) echo github.com/golangci/golangci-lint/v2 ;;
	shfmt) echo mvdan.cc/sh/v3 ;;
	helm) echo helm.sh/helm/v4 ;;
	kustomize) echo sigs.k8s.io/kustomize/kustomize/v5 ;;
	victoria-metrics | vmagent | vmalert) echo github.com/VictoriaMetrics/VictoriaMetrics ;;
	esac
}

# package is the main package of program $1.
package() {
	case $1 in
	kustomize) upstream "$1" ;;
	victoria-metrics | vmagent | vmalert) echo "$(upstream "$1")/app/$1" ;;
	*) echo "$(upstream "$1")/cmd/$1" ;;
	esac
}

# version is the pinned release of program $2 of module $1. Module v0.313.5 of
# Prometheus is release 3.13.5.
version() {
	module_version=$(cd "$1" && go list -m -f '{{.Version}}' "$(upstream "$2")")
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
# The release is for Prometheus and Alertmanager; the others know their own.
compile() {
	module=$1
	shift
	release=$(version "$module" "$1") packages=
	for name in "$@"; do packages="$packages $(package "$name")"; done
	# shellcheck disable=SC2086
	(cd "$module" && CGO_ENABLED=0 exec go build -tags remove_all_sd,enable_moby_sd,netgo -trimpath \
		-ldflags "-s -w -X github.com/prometheus/common/version.Version=$release" -o "$out/" $packages)
	for name in "$@"; do stamp "$module" >"$out/.$name.stamp"; done
}

# module is the folder of program $1's module here.
module() {
	case $1 in
	prometheus | promtool) echo . ;;
	alertmanager | amtool) echo alertmanager ;;
	golangci-lint | shfmt) echo lint ;;
	helm | kustomize) echo kubernetes ;;
	victoria-metrics | vmagent | vmalert) echo victoriametrics ;;
	*)
		echo "tools/build.sh: unknown program $1: see the top of that file" >&2
		return 2
		;;
	esac
}

# those_of lists those of the programs that are in module $1.
those_of() {
	of=$1
	shift
	for name in "$@"; do
		if [ "$(module "$name")" = "$of" ]; then echo "$name"; fi
	done
}

modules=
for name in "$@"; do
	module=$(module "$name")
	case " $modules " in
	*" $module "*) ;;
	*) modules="$modules $module" ;;
	esac
done
what=
for module in $modules; do
	# shellcheck disable=SC2046
	what="$what $(stale "$module" $(those_of "$module" "$@"))"
done
# shellcheck disable=SC2086
set -- $what
[ $# -gt 0 ] || exit 0
what=$*

echo "compiling $what"
started=$(date +%s)
compilers=
# The modules compile side by side: linking uses one core only.
for module in $modules; do
	names=$(those_of "$module" "$@")
	[ -n "$names" ] || continue
	# shellcheck disable=SC2086
	compile "$module" $names &
	compilers="$compilers $!"
done
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
