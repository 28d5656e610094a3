#!/bin/sh
# Installs what the machine test needs on Debian 12, as root. Quiet and quick
# when all of it is there already.
set -eu

packages="qemu-system-x86 busybox-static cpio kmod sparse gcc gcc-12 make libc6-dev libelf-dev e2fsprogs xz-utils mmdebstrap debian-archive-keyring flex bison bc dkms perl"

missing=
for p in $packages; do
	dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
	echo "needs root to install:$missing" >&2
	exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get -q update >/dev/null
# shellcheck disable=SC2086
apt-get -q install -y --no-install-recommends $missing >/dev/null
