#!/bin/sh
# Runs a command with a Docker Engine at the usual socket: the one that runs,
# or one started for the command and stopped after it.
set -eu

answers() { docker_ping=$(curl -fsS --max-time 5 --unix-socket /var/run/docker.sock http://docker/_ping 2>/dev/null) && [ "$docker_ping" = OK ]; }

if answers; then
	exec "$@"
fi

dir=$(mktemp -d)
dockerd --pidfile "$dir/dockerd.pid" >"$dir/dockerd.log" 2>&1 &
engine=$!
stop() {
	kill "$engine" 2>/dev/null || true
	wait "$engine" 2>/dev/null || true
	rm -rf "$dir"
}
trap stop EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

tries=0
until answers; do
	tries=$((tries + 1))
	if [ "$tries" -gt 150 ] || ! kill -0 "$engine" 2>/dev/null; then
		echo "the Docker Engine does not start:" >&2
		tail -n 20 "$dir/dockerd.log" >&2
		exit 1
	fi
	sleep 0.2
done
"$@"
