#!/usr/bin/env bash
# Follows the logs: tools/compose/logs.sh [SERVICE…]
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need_docker
need_state
find_compose
compose logs --follow --tail 100 "$@"
