#!/bin/sh
# Gives what a build or run under sudo has made in this folder to the caller of sudo,
# so that he can build, read and remove it without sudo: own.sh [OTHER FOLDER]. Does
# nothing otherwise.
set -eu
cd "$(dirname "$0")/.."
if [ "$(id -u)" -ne 0 ] || [ -z "${SUDO_UID:-}" ] || [ "$SUDO_UID" -eq 0 ]; then exit 0; fi
owner=$SUDO_UID:${SUDO_GID:-}

# build/cache is not listed: root file systems in there have to stay root's.
for made in build build/bin .run kmod "$@"; do
	if [ -L "$made" ] || ! [ -d "$made" ]; then continue; fi
	case $made in
	build) find build -maxdepth 0 -uid 0 -exec chown -h "$owner" {} + ;;
	# In a repository that root cloned its sources stay root's.
	kmod) [ "$(stat -c %u kmod)" -eq 0 ] || find kmod -xdev -uid 0 -exec chown -h "$owner" {} + ;;
	# Sockets and files of a run may end meanwhile.
	*) find "$made" -xdev -uid 0 -exec chown -h "$owner" {} + 2>/dev/null || true ;;
	esac
done
