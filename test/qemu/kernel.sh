#!/usr/bin/env bash
# kernel.sh SUITE CACHE: fetches the newest cloud kernel of a Debian suite with
# its headers into CACHE, once, and prints the folder it lies in:
#
#   version        what uname -r will say
#   root/          the image (root/boot/vmlinuz-VERSION) and its modules, unpacked
#   headers/       what modules are built against (KDIR is headers/build)
#   chroot/        where to build (KDIR is /headers), if the headers' own tools
#                  do not run on this machine
#
# Where to look comes from the configuration of this machine's apt.
set -euo pipefail
suite=$1 cache=$(realpath -m "$2")
here=$(cd "$(dirname "$0")" && pwd)

die() {
	echo "kernel.sh: $*" >&2
	exit 1
}
# shellcheck source=lists.sh
. "$here/lists.sh"

case $suite in
# sid has the newest kernel of all; its tools want the C library of sid.
bookworm | bullseye | sid) from=$suite flavour=cloud-amd64 ;;
# The newer kernel that Debian 12 offers beside its own.
bookworm-6.12) from=bookworm flavour=6.12-cloud-amd64 ;;
*) die "suite $suite: not known" ;;
esac

meta_image=linux-image-$flavour meta_headers=linux-headers-$flavour

# Two at once would unpack into the same folder.
mkdir -p "$cache"
exec 9>"$cache/$suite.lock"
flock 9

package_lists "$from" "$cache"

# The first package that a package depends on, of the names that match: depends PACKAGE PATTERN
depends() {
	apt-cache "${apt[@]}" depends "$1" | awk -v want="$2" '$1 == "Depends:" && $2 ~ want && !found {found = $2} END {print found}'
}

image=$(depends "$meta_image" '^linux-image-') || die "no $meta_image"
headers=$(depends "$meta_headers" '^linux-headers-') || die "no $meta_headers"
[ -n "$image" ] && [ -n "$headers" ] || die "$suite: apt knows no cloud kernel"
version=$(apt-cache "${apt[@]}" policy "$image" | awk '$1 == "Candidate:" {print $2}')
release=${image#linux-image-}
images=("$image")
# Newer suites have image, modules and their lists in packages of their own.
for pattern in '^linux-base-[0-9]' '^linux-binary-' '^linux-modules-'; do
	package=$(depends "$image" "$pattern")
	[ -z "$package" ] || images+=("$package")
done
common=$(depends "$headers" '^linux-headers-.*-common')
kbuild=$(depends "$headers" '^linux-kbuild-')

dir=$cache/$suite-$version
if [ ! -e "$dir/version" ]; then
	rm -rf "$dir" "$dir.new"
	mkdir -p "$dir.new/debs"
	# One folder, whatever user apt downloads as.
	chmod 755 "$dir.new/debs"
	(cd "$dir.new/debs" && apt-get "${apt[@]}" -q download \
		"${images[@]}" "$headers" "$common" "$kbuild") >"$dir.new/apt.log" 2>&1 ||
		die "cannot download $image: $(tail -3 "$dir.new/apt.log")"
	for package in "${images[@]}"; do
		dpkg -x "$dir.new/debs/${package}_"*.deb "$dir.new/root"
	done
	for deb in "$dir.new"/debs/linux-headers-*.deb "$dir.new"/debs/linux-kbuild-*.deb; do
		dpkg -x "$deb" "$dir.new/headers"
	done
	rm -rf "$dir.new/debs"
	ln -s "usr/src/$headers" "$dir.new/headers/build"
	# Newer suites have all below usr/.
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
	# The headers' Makefile names the folder they would be installed in.
	sed -i "s|/usr/src|$dir/headers/usr/src|" "$dir/headers/build/Makefile"
	echo "$release" >"$dir/version"
fi

# Newer kernels ask a script whether sparse knows enough of C, and do without
# sparse unless it says so; the headers leave that script out.
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
