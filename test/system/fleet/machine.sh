#!/bin/sh
# Runs the test's program in a machine of its own, as its first process: what it
# starts, mounts and connects is invisible outside and ends with it.
#
#   unshare --net --mount --pid --fork --kill-child machine.sh PROGRAM…
set -eu
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir /run/netns
ip link set lo up
exec "$@"
