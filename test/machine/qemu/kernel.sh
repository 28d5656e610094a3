#!/usr/bin/env bash
# kernel.sh SUITE CACHE: downloads the newest cloud kernel of a Debian suite (of
# bookworm-rt the real-time one) and its headers to CACHE, once, and prints the
# directory:
#
#   version        output of uname -r
#   root/          the image (root/boot/vmlinuz-VERSION) and its modules, unpacked
#   headers/       headers for modules (KDIR is headers/build)
#   chroot/        where to build (KDIR is /headers), if the tools in the headers
#                  do not run on this machine
#   arch           Debian's name of the architecture, if it is not this machine's
#                  (see architecture.sh); then tools/ has programs for it
#
# The apt configuration of this machine determines the sources.
set -euo pipefail
suite=$1 cache=$(realpath -m "$2") arch=
here=$(cd "$(dirname "$0")" && pwd)

die() {
	echo "kernel.sh: $*" >&2
	exit 1
}
# shellcheck source=lists.sh
. "$here/lists.sh"

case $suite in
# sid has the newest kernel; its tools need the C library of sid.
bookworm | bullseye | sid) from=$suite flavour=cloud-amd64 ;;
bookworm-arm64) from=bookworm flavour=cloud-arm64 arch=arm64 ;;
# The newer kernel of Debian 12.
bookworm-6.12) from=bookworm flavour=6.12-cloud-amd64 ;;
# Pages of 16 kB; there is no cloud kernel with them.
bookworm-6.12-arm64-16k) from=bookworm flavour=6.12-arm64-16k arch=arm64 ;;
# The same kernel with PREEMPT_RT: spinlocks sleep, interrupts are threads.
bookworm-rt) from=bookworm flavour=rt-amd64 ;;
*) die "unknown suite $suite" ;;
esac

meta_image=linux-image-$flavour meta_headers=linux-headers-$flavour

# Only one at a time may unpack.
mkdir -p "$cache"
exec 9>"$cache/$suite.lock"
flock 9

package_lists "$from" "$cache" "$arch"

# depends PACKAGE PATTERN: the first dependency whose name matches.
depends() {
	apt-cache "${apt[@]}" depends "$1" | awk -v want="$2" '$1 == "Depends:" && $2 ~ want && !found {found = $2} END {print found}'
}

image=$(depends "$meta_image" '^linux-image-') || die "no $meta_image"
headers=$(depends "$meta_headers" '^linux-headers-') || die "no $meta_headers"
if [ -z "$image" ] || [ -z "$headers" ]; then die "$suite has no $meta_image"; fi
version=$(apt-cache "${apt[@]}" policy "$image" | awk '$1 == "Candidate:" {print $2}')
release=${image#linux-image-}
images=("$image")
# Newer suites have separate packages for image, modules and module lists.
for pattern in '^linux-base-[0-9]' '^linux-binary-' '^linux-modules-'; do
	package=$(depends "$image" "$pattern")
	[ -z "$package" ] || images+=("$package")
done
common=$(depends "$headers" '^linux-headers-.*-common')
kbuild=$(depends "$headers" '^linux-kbuild-')
tools=()
if [ -n "$arch" ]; then
	# The programs of kbuild run on this machine, the others in the test machine.
	kbuild=$kbuild:$(dpkg --print-architecture)
	tools=(busybox-static)
fi

dir=$cache/$suite-$version
if [ ! -e "$dir/version" ]; then
	rm -rf "$dir" "$dir.new"
	mkdir -p "$dir.new/debs"
	# Readable by the user that apt downloads as.
	chmod 755 "$dir.new/debs"
	(cd "$dir.new/debs" && apt-get "${apt[@]}" -q download \
		"${images[@]}" "$headers" "$common" "$kbuild" "${tools[@]}") >"$dir.new/apt.log" 2>&1 ||
		die "downloading $image failed: $(tail -3 "$dir.new/apt.log")"
	for package in "${images[@]}"; do
		dpkg -x "$dir.new/debs/${package}_"*.deb "$dir.new/root"
	done
	for deb in "$dir.new"/debs/linux-headers-*.deb "$dir.new"/debs/linux-kbuild-*.deb; do
		dpkg -x "$deb" "$dir.new/headers"
	done
	for package in "${tools[@]}"; do
		dpkg -x "$dir.new/debs/${package}_"*.deb "$dir.new/tools"
	done
	[ -z "$arch" ] || echo "$arch" >"$dir.new/arch"
	rm -rf "$dir.new/debs"
	ln -s "usr/src/$headers" "$dir.new/headers/build"
	# Newer suites have everything below usr/.
	[ -e "$dir.new/root/lib" ] || ln -s usr/lib "$dir.new/root/lib"
	if [ ! -e "$dir.new/root/boot/vmlinuz-$release" ]; then
		mkdir -p "$dir.new/root/boot"
		ln "$dir.new/root/lib/modules/$release/vmlinuz" "$dir.new/root/boot/vmlinuz-$release"
	fi
	depmod -b "$dir.new/root" "$release"
	if [ "$suite" = sid ]; then
		apt-config dump | grep -E '^Acquire::(http|https|Check-|Retries)' >"$dir.new/apt.conf" || true
		mmdebstrap --quiet --mode=root --variant=apt --include="$headers,make,sparse" \
			--aptopt="$dir.new/apt.conf" --dpkgopt='path-exclude=/usr/share/doc/*' \
			--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
			"$suite" "$dir.new/chroot" "$cache/apt-$from/sources.list" >"$dir.new/mmdebstrap.log" 2>&1 ||
			die "mmdebstrap: $(tail -5 "$dir.new/mmdebstrap.log")"
		ln -s "usr/src/$headers" "$dir.new/chroot/headers"
	fi
	mv "$dir.new" "$dir"
	# The headers' Makefile contains their installation path.
	sed -i "s|/usr/src|$dir/headers/usr/src|" "$dir/headers/build/Makefile"
	echo "$release" >"$dir/version"
fi

# Newer kernels run a script that tests whether sparse supports their C, and skip sparse
# otherwise; the headers lack that script.
scripts=$dir/chroot/headers/scripts
if [ -d "$scripts" ] && [ ! -e "$scripts/checker-valid.sh" ]; then
	cat >"$scripts/checker-valid.sh" <<'END'
#!/bin/sh
file=$(mktemp)
echo 'int f(const int *p); int f(const int *p) { __typeof_unqual__(*p) v = *p; return v; }' >"$file"
[ -n "$("$@" "$file" 2>&1)" ] || echo 1
rm "$file"
END
	chmod 755 "$scripts/checker-valid.sh"
fi
echo "$dir"
