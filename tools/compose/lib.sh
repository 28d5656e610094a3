# shellcheck shell=bash
# What the scripts of this folder share; to be sourced by bash.
#
# The state of `make up` is in .run/compose: Grafana's secrets, and the file
# env with what was found out about this host.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=$root/build/bin
state=${ESTIBA_COMPOSE_STATE:-$root/.run/compose}

# The generator of this project; its containers are not compose's own.
# shellcheck disable=SC2034 # used by who sources this
generator_label=estiba.generator=compose

say() { printf '%s\n' "$*"; }
fail() {
	printf 'FAILED: %s\n' "$*" >&2
	exit 1
}

# socket prints the path of the Engine's socket, or nothing if it has none here.
socket() {
	local host=${DOCKER_HOST:-unix:///var/run/docker.sock}
	case $host in
	unix://*) printf '%s' "${host#unix://}" ;;
	esac
}

# need_docker ends with a message if no Engine answers on a socket of this host.
need_docker() {
	command -v docker >/dev/null || fail "there is no docker command: install Docker (on Debian: apt-get install docker.io)"
	[ -S "$(socket)" ] || fail "no Docker Engine has its socket on this machine at '$(socket)' (DOCKER_HOST=${DOCKER_HOST:-})"
	docker version >/dev/null 2>&1 || fail "the Docker Engine at $(socket) does not answer you: $(docker version 2>&1 | tail -n 1)"
}

# find_compose sets the array compose_tool to a compose that reads this file:
# 2.24 or newer. Where there is none, the pinned one is built from its module.
find_compose() {
	local tool
	for tool in "docker compose" docker-compose; do
		read -ra compose_tool <<<"$tool"
		new_enough "$("${compose_tool[@]}" version --short 2>/dev/null)" && return
	done
	compose_tool=("$bin/docker-compose")
	"$root/tools/compose/build.sh"
}

# new_enough VERSION
new_enough() {
	local version=${1#v}
	[ -n "$version" ] && [ "$(printf '%s\n' 2.24 "$version" | sort -V | head -n 1)" = 2.24 ]
}

# gives_bpf reports whether the Engine knows CAP_BPF: 23, whose API is 1.42, and newer.
gives_bpf() {
	[ -n "${engine_api:-}" ] || engine_api=$(docker version --format '{{.Server.APIVersion}}' 2>/dev/null)
	[ -n "$engine_api" ] && [ "$(printf '%s\n' 1.42 "$engine_api" | sort -V | head -n 1)" = 1.42 ]
}

# compose runs the tool on this project, with what `make up` found out. A file
# .env of the user's comes after that, and the environment above both.
compose() {
	local files=()
	[ ! -f "$state/env" ] || files+=(--env-file "$state/env")
	[ ! -f "$root/.env" ] || files+=(--env-file "$root/.env")
	! gives_bpf || files+=(-f "$root/tools/compose/bpf.yml")
	ESTIBA_SECRETS=$state/secrets "${compose_tool[@]}" --project-directory "$root" -f "$root/docker-compose.yml" "${files[@]}" --profile demo "$@"
}

# need_state ends with a message if the project was never started.
need_state() { [ -f "$state/env" ] || fail "there is nothing yet: make up starts it"; }

# warn_stand_in: the filter in front of the Engine's socket is never replaced silently.
warn_stand_in() { say "  WARNING: the socket proxy is the stand-in of this repository (tools/compose/socketproxy), not the third-party image"; }
