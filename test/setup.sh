#!/bin/sh
# Installs what `make test` needs. A Docker Engine that is installed stays, whoever made it.
set -eu
here=$(dirname "$0")
engine=docker.io
! command -v dockerd >/dev/null || engine=
# shellcheck disable=SC2086
"$here/install.sh" $engine podman catatonit crun uidmap iptables curl tmux
"$here/machine/qemu/install.sh"
