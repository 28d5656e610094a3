#!/bin/sh
# Installs what the tests need on a Debian or Ubuntu machine, as root. Quiet
# and quick when all of it is there already.
set -eu

packages="docker.io iptables curl qemu-system-x86 busybox-static cpio kmod sparse gcc make libc6-dev libelf-dev e2fsprogs clang libclang-rt-14-dev"

missing=
for p in $packages; do
    dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "these packages are missing and need root to install:$missing" >&2
    exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get -q update >/dev/null
# shellcheck disable=SC2086
apt-get -q install -y --no-install-recommends $missing >/dev/null
