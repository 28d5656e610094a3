#!/usr/bin/env bash
# Makes images out of static programs, without pulling anything:
#
#   tools/compose/images.sh [PART…]
#
# Parts: exporter, manager, generator (our own), prometheus, alertmanager (of
# the pinned builds) and socket-proxy (a stand-in for the third-party one).
# Without a part, all of them. Each is tagged estiba/PART:local.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=../go.sh
. "$root/tools/go.sh"

parts=("$@")
[ $# -gt 0 ] || parts=(exporter manager generator prometheus alertmanager socket-proxy)
for part in "${parts[@]}"; do
	case $part in
	exporter | manager | generator | prometheus | alertmanager | socket-proxy) ;;
	*) fail "no part is called $part: want exporter, manager, generator, prometheus, alertmanager or socket-proxy" ;;
	esac
done
need_docker

asked() { [[ " ${parts[*]} " == *" $1 "* ]]; }

if asked exporter || asked manager || asked generator; then
	say "compiling exporter, manager and generator"
	make -s -C "$root" build
fi
pinned=()
asked prometheus && pinned+=(prometheus promtool)
asked alertmanager && pinned+=(alertmanager amtool)
[ ${#pinned[@]} -eq 0 ] || "$root/tools/build.sh" "${pinned[@]}"

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT

# add puts programs into the context.
add() { for name in "$@"; do cp "$bin/$name" "$context/$name"; done; }

# build TAG DOCKERFILE sends the context, and only that, to the Engine; an
# image that was made of the same stays.
build() {
	local tag=$1 label=io.github.estiba.content content
	cp "$2" "$context/Dockerfile"
	content=$(cd "$context" && find . -type f -exec sha256sum {} + | LC_ALL=C sort | sha256sum | cut -d ' ' -f 1)
	if [ "$(docker image inspect -f "{{index .Config.Labels \"$label\"}}" "$tag" 2>/dev/null)" != "$content" ]; then
		tar -C "$context" -c . | docker build -q --label "$label=$content" -t "$tag" - >"$context.log" 2>&1 || {
			cat "$context.log" >&2
			rm -f "$context.log"
			fail "the image $tag was not made"
		}
		rm -f "$context.log"
		say "image $tag made"
	fi
	rm -rf "${context:?}"/*
}

for part in "${parts[@]}"; do
	file=$root/tools/compose/$part.Dockerfile
	case $part in
	exporter | manager | generator)
		add "$part"
		file=$root/$part/packaging/Dockerfile
		;;
	prometheus) add prometheus promtool ;;
	alertmanager) add alertmanager amtool ;;
	socket-proxy)
		(cd "$root/tools/compose" && CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '-s -w' -o "$context/socket-proxy" ./socketproxy)
		;;
	esac
	# An empty folder that takes an owner, and the certificates that a program
	# needs to believe a server elsewhere.
	mkdir -p "$context/state" "$context/certs"
	if [ -f /etc/ssl/certs/ca-certificates.crt ]; then cp /etc/ssl/certs/ca-certificates.crt "$context/certs/"; fi
	build "estiba/$part:local" "$file"
done
# What the tags named before; images in use stay.
docker image prune -f --filter label=io.github.estiba.part >/dev/null
