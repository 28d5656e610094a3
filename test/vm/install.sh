#!/bin/sh
# Installs what the test machine with Docker needs.
set -eu
exec "$(dirname "$0")/../install.sh" mmdebstrap debian-archive-keyring qemu-system-x86 busybox-static cpio kmod e2fsprogs
