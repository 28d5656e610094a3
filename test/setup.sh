#!/bin/sh
# Installs what `make test` needs.
set -eu
"$(dirname "$0")/install.sh" docker.io iptables curl
"$(dirname "$0")/qemu/install.sh"
