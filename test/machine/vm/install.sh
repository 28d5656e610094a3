#!/bin/sh
# Installs the packages for the test machine with Docker.
set -eu
exec "$(dirname "$0")/../../install.sh" mmdebstrap debian-archive-keyring qemu-system-x86 busybox-static cpio kmod e2fsprogs
