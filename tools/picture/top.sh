#!/usr/bin/env bash
# top.sh [OUTPUT]
#
# Draws docs/pictures/top.svg: starts containers like those of a small shop on the local
# Docker Engine, with loads of the generator, runs `exporter top` beside them in tmux,
# and removes them again.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=../go.sh
. tools/go.sh
output=${1:-docs/pictures/top.svg}
make -s build
folder=$(mktemp -d)
containers=()
finish() {
	tmux -S "$folder/tmux" kill-server 2>/dev/null || true
	[ ${#containers[@]} -eq 0 ] || docker rm -f "${containers[@]}" >/dev/null
	rm -rf "$folder"
}
trap finish EXIT

# The generator builds the image of the loads.
build/bin/generator once --name=picture --lock-file="$folder/lock" --batch=1 2>/dev/null
build/bin/generator clean --name=picture 2>/dev/null

# start PROJECT NAME MEMORY LOAD…
start() {
	local project=$1 name=$2 memory=$3
	shift 3
	containers+=("$name")
	docker run -d --name="$name" --network=none --memory="$memory" --volume=/data ${project:+--label=com.docker.compose.project="$project"} \
		estiba/stress --lifetime=10m "$@" >/dev/null
}
start shop shop-web-1 96m --kind=cpu --share=0.42
start shop shop-web-2 96m --kind=cpu --share=0.23
start shop shop-db-1 256m --kind=ram --bytes=220000000 --rate=3
start shop shop-queue-1 64m --kind=io --bytes=65536 --rate=60 --block=512
start reports reports-export-1 64m --kind=disk --bytes=33554432 --rate=4 --block=1048576
start reports reports-cache-1 128m --kind=ram --bytes=50000000 --rate=1
start "" registry 64m --kind=disk --bytes=8388608 --rate=0.5 --block=262144

tmux -S "$folder/tmux" -f /dev/null new-session -d -x 120 -y 16 build/bin/exporter top --tree
sleep 12 # until the loads are under way
[ "$(docker ps -q | wc -l)" -ge ${#containers[@]} ] || {
	echo "top.sh: a container has exited" >&2
	exit 1
}
tmux -S "$folder/tmux" capture-pane -p -e >"$folder/screen"
go -C tools run ./picture <"$folder/screen" >"$output"
