#!/usr/bin/env bash
# Prints what runs, its health, and the addresses.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need_docker
need_state
find_compose

compose ps -a --format 'table {{.Service}}\t{{.Image}}\t{{.Status}}'
running=$(compose ps --services --status running)
if [ -z "$running" ]; then
	say "nothing runs: make up starts it"
	exit 1
fi

# page SERVICE PORT TEXT
page() {
	local address
	grep -qx "$1" <<<"$running" || return 0
	address=$(compose port "$1" "$2")
	say "  http://${address/#127.0.0.1:/localhost:}  $3"
}
say
if grep -qx grafana <<<"$running"; then
	page grafana 3000 "dashboards; user admin, password: cat ${state#"$root"/}/secrets/grafana_admin_password"
else
	say "  grafana does not run: its image was not available at make up, or it was stopped"
fi
page manager 10121 "what is killed and spared, and why"
page prometheus 9090 "history; the built-in page is in the official image only"
page alertmanager 9093 "alerts"
page exporter 10120 "metrics"
if compose ps --format '{{.Image}}' | grep -x estiba/socket-proxy:local >/dev/null; then warn_stand_in; fi
