#!/bin/sh
# Installs what `make test` needs.
set -eu
"$(dirname "$0")/install.sh" docker.io iptables curl clang libclang-rt-14-dev
"$(dirname "$0")/qemu/install.sh"
