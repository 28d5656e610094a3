#!/usr/bin/env bash
# Runs a command with a Docker Engine of its own, in network, mount and process
# namespaces of its own, so that neither its bridges and firewall rules nor its
# containers meet the machine's:
#
#   unshare --net --mount --pid --fork --kill-child test/system/compose/engine.sh FOLDER COMMAND…
#
# The namespaces have no way out, so no registry is reached.
set -euo pipefail
dir=$1
shift

mount --make-rprivate /
mount -t proc proc /proc
ip link set lo up
export DOCKER_HOST=unix://$dir/docker.sock
dockerd --host="$DOCKER_HOST" --data-root="$dir/data" --exec-root="$dir/exec" --pidfile="$dir/pid" \
	>"$dir/dockerd.log" 2>&1 &
engine=$!
for _ in $(seq 300); do
	docker version >/dev/null 2>&1 && break
	kill -0 "$engine" 2>/dev/null || break
	sleep 0.2
done
if ! docker version >/dev/null 2>&1; then
	echo "the Docker Engine of the test does not start:" >&2
	tail -n 20 "$dir/dockerd.log" >&2
	exit 1
fi

status=0
"$@" || status=$?
docker ps -aq | xargs -r docker rm -fv >/dev/null 2>&1 || true
kill "$engine"
wait "$engine" || true
exit "$status"
