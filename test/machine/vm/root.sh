#!/usr/bin/env bash
# root.sh KERNEL CACHE: builds the disk image of a container host: Debian 12 with its Docker
# Engine and the modules of the kernel in the directory KERNEL (see ../qemu/kernel.sh).
# Prints the path of the image in CACHE, which is rebuilt only when a package version
# changes.
#
# The apt configuration of this machine determines the sources.
set -euo pipefail
kernel=$1 cache=$2
here=$(cd "$(dirname "$0")" && pwd)
suite=bookworm
packages=(docker.io containerd runc iptables kmod podman crun uidmap)

die() {
	echo "root.sh: $*" >&2
	exit 1
}

mkdir -p "$cache"
# Update the package lists once a day. Another apt may hold the lock for a moment.
if [ -z "$(find "$cache/updated" -mmin -1440 2>/dev/null)" ]; then
	tries=0
	until apt-get -q update >"$cache/update.log" 2>&1; do
		tries=$((tries + 1))
		[ "$tries" -lt 5 ] || die "updating the package lists failed: $(tail -3 "$cache/update.log")"
		sleep 5
	done
	touch "$cache/updated"
fi

versions=$(apt-cache policy "${packages[@]}" | awk '/^[^ ]/ {name = $1} $1 == "Candidate:" {print name, $2}')
key=$( (
	echo "$versions"
	cat "$kernel/version" "$here/root.sh"
) | sha256sum | cut -c1-16)
image=$cache/docker-$key.ext4
if [ ! -e "$image" ]; then
	# The Debian archives among this machine's sources.
	sources=$cache/sources.list
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
		awk -v suite="$suite" '$2 ~ "^" suite "(-security|-updates)?$" {
			print "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]", $0}' | sort -u >"$sources"
	grep -q . "$sources" || die "apt has no sources for Debian $suite"
	# And the settings for downloads, such as proxies.
	apt-config dump | grep -E '^Acquire::(http|https|Check-|Retries)' >"$cache/apt.conf" || true
	rm -rf "$cache"/docker-*.ext4 "$cache/root"
	mmdebstrap --quiet --mode=root --variant=essential --include="$(
		IFS=,
		echo "${packages[*]}"
	)" \
		--aptopt="$cache/apt.conf" --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		"$suite" "$cache/root" "$sources" >"$cache/mmdebstrap.log" 2>&1 ||
		die "mmdebstrap: $(tail -5 "$cache/mmdebstrap.log")"
	cp -a "$kernel/root/lib/modules" "$cache/root/lib/"
	rm -f "$image.new"
	truncate -s 3G "$image.new"
	# Without a journal and lazily initialized, as changes are discarded after each run.
	mke2fs -q -F -t ext4 -O ^has_journal -E lazy_itable_init=1 -d "$cache/root" "$image.new"
	rm -rf "$cache/root"
	mv "$image.new" "$image"
fi
echo "$image"
