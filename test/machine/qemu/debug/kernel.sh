#!/usr/bin/env bash
# kernel.sh CACHE: builds the debug kernel from the newest linux-source-6.1 of Debian 12,
# tinyconfig and the file config, once per version and configuration, and prints its
# directory:
#
#   version          output of uname -r
#   vmlinuz          the image; everything is built in
#   headers/build    headers for modules
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

# Only one at a time may build.
mkdir -p "$cache"
exec 9>"$cache/debug.lock"
flock 9

package_lists "$suite" "$cache"
version=$(apt-cache "${apt[@]}" policy "$package" | awk '$1 == "Candidate:" && $2 != "(none)" {print $2}')
[ -n "$version" ] || die "$suite has no $package"

sum=$(sha256sum "$here/config" | cut -c1-12)
dir=$cache/debug-$version-$sum
if [ ! -e "$dir/version" ]; then
	# Continue an interrupted build.
	if [ ! -e "$dir/unpacked" ]; then
		rm -rf "$dir"
		mkdir -p "$dir/debs" "$dir/source"
		chmod 755 "$dir/debs"
		(cd "$dir/debs" && apt-get "${apt[@]}" -q download "$package") >"$dir/apt.log" 2>&1 ||
			die "downloading $package failed: $(tail -3 "$dir/apt.log")"
		# Without drivers that the machine does not need, but with their Kconfig
		# files.
		dpkg-deb --fsys-tarfile "$dir"/debs/*.deb | tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
			tar -xJ -C "$dir/source" --strip-components=1 --wildcards \
				--exclude='*/drivers/gpu/*.[ch]' --exclude='*/drivers/media/*.[ch]' \
				--exclude='*/drivers/net/ethernet/*.[ch]' --exclude='*/drivers/net/wireless/*.[ch]' \
				--exclude='*/drivers/staging/*.[ch]' --exclude='*/sound/*.[ch]' --exclude='*/fs/xfs/*.[ch]' \
				--exclude='*.rst' --exclude='*.dts' --exclude='*.dtsi' --exclude='*/Documentation/*.yaml' ||
			die "unpacking $package failed"
		rm -rf "$dir/debs"
		touch "$dir/unpacked"
	fi

	cd "$dir/source"
	log=$dir/build.log
	{
		make CC=gcc-12 tinyconfig
		scripts/kconfig/merge_config.sh -m .config "$here/config"
		make CC=gcc-12 olddefconfig
	} >"$log" 2>&1 || die "configuring the kernel failed ($log)"
	# kconfig silently drops options with missing dependencies.
	while read -r line; do
		grep -qxF "$line" .config || die "kconfig dropped $line"
	done < <(grep -E '^(# )?CONFIG_' "$here/config")
	make -j"$(nproc)" CC=gcc-12 bzImage modules >>"$log" 2>&1 || die "the build failed: $(tail -5 "$log")"
	cp arch/x86/boot/bzImage "$dir/vmlinuz"
	mkdir -p "$dir/headers"
	ln -sfn ../source "$dir/headers/build"
	find . \( -name '*.o' -o -name '*.a' -o -name vmlinux \) -not -path './scripts/*' -not -path './tools/*' -delete
	make -s CC=gcc-12 kernelrelease >"$dir/version.new"
	mv "$dir/version.new" "$dir/version"
	# Remove kernels of older versions and configurations.
	find "$cache" -maxdepth 1 -type d -name 'debug-*' ! -path "$dir" -exec rm -rf {} +
fi
echo "$dir"
