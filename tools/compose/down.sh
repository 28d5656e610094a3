#!/usr/bin/env bash
# Stops Estiba's containers and removes them, their networks and what the
# generator made. History stays in the volumes:
#
#   tools/compose/down.sh [--volumes]
#
# --volumes removes history, Grafana's settings and the secrets as well.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

volumes=()
case "${1:-}" in
--volumes) volumes=(--volumes) ;;
'') ;;
*) fail "unknown argument $1: want --volumes or nothing" ;;
esac

need_docker
if ! [ -f "$state/env" ]; then
	say "nothing was started"
	exit 0
fi
find_compose
say "stopping"
compose down --remove-orphans "${volumes[@]}" >"$state/down.log" 2>&1 || {
	tail -n 20 "$state/down.log" >&2
	fail "not everything could be removed"
}
# One that ends by itself meanwhile is no failure.
docker ps -aq --filter "label=$generator_label" | xargs -r docker rm -fv >/dev/null 2>&1 || true
left=$(docker ps -aq --filter "label=$generator_label")
[ -z "$left" ] || fail "generated containers are left: docker ps --filter label=$generator_label"
if [ ${#volumes[@]} -gt 0 ]; then
	rm -rf "$state"
	say "stopped; history and secrets are removed"
else
	say "stopped; history stays in the volumes estiba_*, make up goes on with it"
fi
