#!/bin/sh
# Installs what the machine test needs on Debian 12, as root. Quiet and quick
# when all of it is there already.
set -eu

packages="qemu-system-x86 busybox-static cpio kmod sparse gcc gcc-12 make libc6-dev libelf-dev e2fsprogs xz-utils"

missing=
for p in $packages; do
	dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing="$missing $p"
done
# The package lists are needed to find the kernel, too.
if [ -n "$missing" ] || ! apt-cache show linux-image-cloud-amd64 >/dev/null 2>&1; then
	if [ "$(id -u)" -ne 0 ]; then
		echo "needs root to install:$missing" >&2
		exit 1
	fi
	apt-get -q update >/dev/null
fi
if [ -n "$missing" ]; then
	echo "installing:$missing"
	export DEBIAN_FRONTEND=noninteractive
	# shellcheck disable=SC2086
	apt-get -q install -y --no-install-recommends $missing >/dev/null
fi
