#!/bin/sh
# Installs the packages for the tests in QEMU, and those in the arguments.
set -eu
exec "$(dirname "$0")/../../install.sh" qemu-system-x86 busybox-static cpio kmod sparse gcc gcc-12 make libc6-dev \
	libelf-dev e2fsprogs xz-utils "$@"
