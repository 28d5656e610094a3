#!/bin/sh
# Installs what the machine test needs, and the packages named besides.
set -eu
exec "$(dirname "$0")/../install.sh" qemu-system-x86 busybox-static cpio kmod sparse gcc gcc-12 make libc6-dev \
	libelf-dev e2fsprogs xz-utils "$@"
