#!/usr/bin/env bash
# kernel.sh SUITE CACHE: fetches the newest cloud kernel of a Debian suite with
# its headers into CACHE, once, and prints the folder it lies in:
#
#   version        what uname -r will say
#   root/          the image and its modules, unpacked
#   headers/       what modules are built against (KDIR is headers/build)
#
# The suite has to be one that apt on this machine knows.
set -euo pipefail
suite=$1 cache=$2

die() {
	echo "kernel.sh: $*" >&2
	exit 1
}

case $suite in
bookworm) flavour=cloud-amd64 ;;
# The newer kernel that Debian 12 offers beside its own.
bookworm-6.12) flavour=6.12-cloud-amd64 ;;
*) die "suite $suite: not known" ;;
esac

meta_image=linux-image-$flavour meta_headers=linux-headers-$flavour

# The package that a package of the same kind depends on: depends PACKAGE PATTERN
depends() {
	apt-cache depends "$1" | awk -v want="$2" '$1 == "Depends:" && $2 ~ want {print $2; exit}'
}

image=$(depends "$meta_image" '^linux-image-') || die "no $meta_image"
headers=$(depends "$meta_headers" '^linux-headers-') || die "no $meta_headers"
[ -n "$image" ] && [ -n "$headers" ] || die "$suite: apt knows no cloud kernel"
common=$(depends "$headers" '^linux-headers-.*-common')
kbuild=$(depends "$headers" '^linux-kbuild-')
version=$(apt-cache policy "$image" | awk '$1 == "Candidate:" {print $2}')
release=${image#linux-image-}

dir=$cache/$suite-$version
if [ ! -e "$dir/version" ]; then
	rm -rf "$dir" "$dir.new"
	mkdir -p "$dir.new/debs"
	# One folder, whatever user apt downloads as.
	chmod 755 "$dir.new/debs"
	(cd "$dir.new/debs" && apt-get -q -o APT::Sandbox::User=root download \
		"$image" "$headers" "$common" "$kbuild") >"$dir.new/apt.log" 2>&1 ||
		die "cannot download $image: $(tail -3 "$dir.new/apt.log")"
	for deb in "$dir.new"/debs/linux-image-*.deb; do
		dpkg -x "$deb" "$dir.new/root"
	done
	for deb in "$dir.new"/debs/linux-headers-*.deb "$dir.new"/debs/linux-kbuild-*.deb; do
		dpkg -x "$deb" "$dir.new/headers"
	done
	rm -rf "$dir.new/debs"
	ln -s "usr/src/$headers" "$dir.new/headers/build"
	depmod -b "$dir.new/root" "$release"
	mv "$dir.new" "$dir"
	# The headers' Makefile names the folder they would be installed in.
	sed -i "s|/usr/src|$dir/headers/usr/src|" "$dir/headers/build/Makefile"
	echo "$release" >"$dir/version"
fi
echo "$dir"
