#!/usr/bin/env bash
# Runs docker compose on this project with the settings that up.sh found, for
# everything that has no script of its own: tools/compose/compose.sh exec manager /manager plan
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need_docker
need_state
find_compose
compose "$@"
