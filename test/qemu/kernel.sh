#!/usr/bin/env bash
# kernel.sh SUITE CACHE: fetches the newest cloud kernel of a Debian suite with
# its headers into CACHE, once, and prints the folder it lies in:
#
#   version        what uname -r will say
#   root/          the image and its modules, unpacked
#   headers/       what modules are built against (KDIR is headers/build)
#
# Where to look comes from the configuration of this machine's apt.
set -euo pipefail
suite=$1 cache=$2

die() {
	echo "kernel.sh: $*" >&2
	exit 1
}

case $suite in
bookworm | bullseye) from=$suite flavour=cloud-amd64 ;;
# The newer kernel that Debian 12 offers beside its own.
bookworm-6.12) from=bookworm flavour=6.12-cloud-amd64 ;;
*) die "suite $suite: not known" ;;
esac

meta_image=linux-image-$flavour meta_headers=linux-headers-$flavour

# Lists of packages of our own: the suite may be another than this machine's, and
# the machine's lists may be old. The machine's sources with the suite's name in
# place of its own, without those that an old suite has no more.
own=$(. /etc/os-release && echo "$VERSION_CODENAME")
lists=$cache/apt-$from
mkdir -p "$lists/parts" "$lists/lists/partial" "$lists/archives/partial"
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
	if [ -e "$file" ] && grep -qw "$own" "$file"; then
		sed -E "/^deb.* $own-(updates|backports)/d; s/ $own-(updates|backports)//g; s/\b$own\b/$from/g" \
			"$file" >"$lists/parts/$(basename "$file")"
	fi
done
apt=(-o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$lists/parts"
	-o "Dir::State::lists=$lists/lists" -o "Dir::Cache::archives=$lists/archives"
	-o "Dir::Cache::pkgcache=$lists/packages.bin" -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root)
# Once a day is often enough.
if [ -z "$(find "$lists/updated" -mmin -1440 2>/dev/null)" ]; then
	apt-get "${apt[@]}" -q update >"$lists/update.log" 2>&1 ||
		die "cannot read the package lists of $from: $(tail -3 "$lists/update.log")"
	touch "$lists/updated"
fi

# The package that a package of the same kind depends on: depends PACKAGE PATTERN
depends() {
	apt-cache "${apt[@]}" depends "$1" | awk -v want="$2" '$1 == "Depends:" && $2 ~ want {print $2; exit}'
}

image=$(depends "$meta_image" '^linux-image-') || die "no $meta_image"
headers=$(depends "$meta_headers" '^linux-headers-') || die "no $meta_headers"
[ -n "$image" ] && [ -n "$headers" ] || die "$suite: apt knows no cloud kernel"
common=$(depends "$headers" '^linux-headers-.*-common')
kbuild=$(depends "$headers" '^linux-kbuild-')
version=$(apt-cache "${apt[@]}" policy "$image" | awk '$1 == "Candidate:" {print $2}')
release=${image#linux-image-}

dir=$cache/$suite-$version
if [ ! -e "$dir/version" ]; then
	rm -rf "$dir" "$dir.new"
	mkdir -p "$dir.new/debs"
	# One folder, whatever user apt downloads as.
	chmod 755 "$dir.new/debs"
	(cd "$dir.new/debs" && apt-get "${apt[@]}" -q download \
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
