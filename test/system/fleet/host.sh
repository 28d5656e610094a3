#!/bin/sh
# The first process of a simulated host, in namespaces of its own: mounts,
# processes, host name. Its end is the end of everything on the host, as when the
# power fails.
#
#   nsenter --net=/run/netns/NAME unshare --mount --pid --uts --fork --kill-child host.sh NAME
set -eu
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
hostname "$1"
echo runs
# Whoever loses its parent becomes this one's child, and wait sees it off.
while :; do
	sleep 1000 &
	wait
done
