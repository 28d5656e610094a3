#!/usr/bin/env bash
# Starts Estiba in containers and waits until it is healthy:
#
#   tools/compose/up.sh [--demo]
#
# --demo adds the generator. Nothing is asked: what is missing is generated,
# pulled or built, and an image that can neither be pulled nor built is left
# out by name. A second call applies what has changed.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

services=(exporter-docker exporter manager-docker manager prometheus alertmanager)
case "${1:-}" in
--demo) services+=(generator-docker generator) ;;
'') ;;
*) fail "unknown argument $1: want --demo or nothing" ;;
esac

need_docker
# What other services read is mounted, and they are not root.
unreadable=$(find "$root/prometheus" "$root/manager/policies" "$root/grafana/provisioning" "$root/grafana/dashboards" \
	\( -type f ! -perm -o=r -o -type d ! -perm -o=rx \) -print -quit)
[ -z "$unreadable" ] || fail "$unreadable cannot be read by others, so not by the services (a umask of 077?): chmod -R o+rX prometheus manager/policies grafana"

find_compose
mkdir -p "$state/secrets"
chmod 0700 "$state/secrets"

# Grafana's own user if we may give files to it, else ours.
grafana_user=472
[ "$(id -u)" -eq 0 ] || grafana_user=$(id -u)

# secret NAME makes a file with 32 random hex digits, once.
secret() {
	local file=$state/secrets/$1
	if ! [ -s "$file" ]; then
		(umask 077 && od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$file.new")
		mv "$file.new" "$file"
		say "secret $1 made: ${file#"$root"/}"
	fi
	chmod 0600 "$file"
	[ "$(id -u)" -ne 0 ] || chown "$grafana_user" "$file"
}
secret grafana_admin_password
secret grafana_secret_key

# What was found out goes to a file that the other scripts read as well.
{
	echo "ESTIBA_DOCKER_GID=$(stat -L -c %g "$(socket)")"
	echo "ESTIBA_DOCKER_SOCKET=$(socket)"
	echo "ESTIBA_GRAFANA_USER=$grafana_user:0"
} >"$state/env"

here() { docker image inspect "$1" >/dev/null 2>&1; }

# obtain SERVICE reports whether its image is here now, pulled if need be; the
# reason why not is in refusal.
obtain() {
	local image
	image=$(compose config --images "$1")
	here "$image" && return
	say "pulling $image"
	refusal=$(timeout 600 docker pull -q "$image" 2>&1 >/dev/null | tail -n 1 | sed "s,^Error response from daemon: ,,")
	here "$image"
}

# instead SERVICE PART VARIABLE notes that the image of the pinned build is used.
instead() {
	say "  image not available (${refusal:-no answer}): building $2 here instead"
	to_build+=("$2")
	echo "$3=estiba/$2:local" >>"$state/env"
	[ "$(compose config --images "$1")" = "estiba/$2:local" ] || fail "$3 names an image that is not available: $(compose config --images "$1")"
}
to_build=(exporter manager generator)
obtain prometheus || instead prometheus prometheus ESTIBA_PROMETHEUS_IMAGE
obtain alertmanager || instead alertmanager alertmanager ESTIBA_ALERTMANAGER_IMAGE
obtain exporter-docker || {
	instead exporter-docker socket-proxy ESTIBA_SOCKET_PROXY_IMAGE
	warn_stand_in
}
if obtain grafana; then
	services+=(grafana)
else
	say "  image not available (${refusal:-no answer}): starting without Grafana; everything else works without it."
fi
"$root/tools/compose/images.sh" "${to_build[@]}"

say "starting ${services[*]}"
if ! compose up -d --wait --wait-timeout 180 "${services[@]}" >"$state/up.log" 2>&1; then
	tail -n 20 "$state/up.log" >&2
	compose ps -a >&2
	fail "not every service became healthy: make logs shows why, make down stops the rest"
fi

"$root/tools/compose/status.sh"
