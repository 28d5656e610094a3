#!/usr/bin/env bash
# kernel.sh CACHE: builds the debug kernel from the newest linux-source-6.1 of
# Debian 12, tinyconfig and the file config beside this script, once for each
# version and configuration, and prints the folder it lies in:
#
#   version          what uname -r will say
#   vmlinuz          the image; everything is built in
#   headers/build    what modules are built against
#   source/          the source, for its scripts
set -euo pipefail
cache=$(realpath -m "$1")
here=$(cd "$(dirname "$0")" && pwd)
package=linux-source-6.1
suite=bookworm

die() {
	echo "debug/kernel.sh: $*" >&2
	exit 1
}
# shellcheck source=../lists.sh
. "$here/../lists.sh"

# Two at once would build in the same folder.
mkdir -p "$cache"
exec 9>"$cache/debug.lock"
flock 9

package_lists "$suite" "$cache"
version=$(apt-cache "${apt[@]}" policy "$package" | awk '$1 == "Candidate:" && $2 != "(none)" {print $2}')
[ -n "$version" ] || die "$suite has no $package"

sum=$(sha256sum "$here/config" | cut -c1-12)
dir=$cache/debug-$version-$sum
if [ ! -e "$dir/version" ]; then
	# What an interrupted build compiled is kept.
	if [ ! -e "$dir/unpacked" ]; then
		rm -rf "$dir"
		mkdir -p "$dir/debs" "$dir/source"
		chmod 755 "$dir/debs"
		(cd "$dir/debs" && apt-get "${apt[@]}" -q download "$package") >"$dir/apt.log" 2>&1 ||
			die "cannot download $package: $(tail -3 "$dir/apt.log")"
		# Code of other machines and of devices that this one has not; kconfig
		# wants to see their Kconfig all the same.
		dpkg-deb --fsys-tarfile "$dir"/debs/*.deb | tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
			tar -xJ -C "$dir/source" --strip-components=1 --wildcards \
				--exclude='*/drivers/gpu/*.[ch]' --exclude='*/drivers/media/*.[ch]' \
				--exclude='*/drivers/net/ethernet/*.[ch]' --exclude='*/drivers/net/wireless/*.[ch]' \
				--exclude='*/drivers/staging/*.[ch]' --exclude='*/sound/*.[ch]' --exclude='*/fs/xfs/*.[ch]' \
				--exclude='*.rst' --exclude='*.dts' --exclude='*.dtsi' --exclude='*/Documentation/*.yaml' ||
			die "cannot unpack $package"
		rm -rf "$dir/debs"
		touch "$dir/unpacked"
	fi

	cd "$dir/source"
	log=$dir/build.log
	{
		make CC=gcc-12 tinyconfig
		scripts/kconfig/merge_config.sh -m .config "$here/config"
		make CC=gcc-12 olddefconfig
	} >"$log" 2>&1 || die "cannot make the configuration ($log)"
	# kconfig drops what lacks something else without a word.
	while read -r line; do
		grep -qxF "$line" .config || die "the configuration lost $line"
	done < <(grep -E '^(# )?CONFIG_' "$here/config")
	make -j"$(nproc)" CC=gcc-12 bzImage modules >>"$log" 2>&1 || die "the build failed: $(tail -5 "$log")"
	cp arch/x86/boot/bzImage "$dir/vmlinuz"
	mkdir -p "$dir/headers"
	ln -sfn ../source "$dir/headers/build"
	find . \( -name '*.o' -o -name '*.a' -o -name vmlinux \) -not -path './scripts/*' -not -path './tools/*' -delete
	make -s CC=gcc-12 kernelrelease >"$dir/version.new"
	mv "$dir/version.new" "$dir/version"
	# Kernels of older versions and configurations.
	find "$cache" -maxdepth 1 -type d -name 'debug-*' ! -path "$dir" -exec rm -rf {} +
fi
echo "$dir"
