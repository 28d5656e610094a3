#!/usr/bin/env bash
# dkms.sh [--suite=bookworm]: tests the ways to install the module that its README.md
# describes, for the newest cloud kernel of a Debian suite: DKMS (add, build, install,
# autoinstall for a new kernel, remove), `make install`, and manual signing. It runs in a
# private mount namespace, so it changes nothing on this machine.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
suite=bookworm
for arg; do
	case $arg in
	--suite=*) suite=${arg#*=} ;;
	*)
		echo "dkms.sh: unknown argument $arg" >&2
		exit 2
		;;
	esac
done

if [ -z "${ESTIBA_DKMS_KERNEL:-}" ]; then
	sh "$here/install.sh" dkms openssl perl
	ESTIBA_DKMS_KERNEL=$(bash "$here/kernel.sh" "$suite" "$top/build/cache/kernels")
	export ESTIBA_DKMS_KERNEL
	exec unshare --mount --propagation private bash "$0" "$@"
fi

kernel=$ESTIBA_DKMS_KERNEL
release=$(cat "$kernel/version")
[ ! -e "$kernel/arch" ] || {
	echo "dkms.sh: the kernel of $suite is for another architecture" >&2
	exit 2
}
version=$(awk -F'"' '$1 == "PACKAGE_VERSION=" {print $2}' "$top/kmod/dkms.conf")
log=$top/build/qemu/dkms.log
mkdir -p "$(dirname "$log")"
: >"$log"

die() {
	echo "FAIL: $*"
	tail -20 "$log"
	exit 1
}
step() {
	local title=$1
	shift
	echo "== $title: $*" >>"$log"
	"$@" >>"$log" 2>&1 || die "$title"
	echo "ok: $title"
}

mkdir -p /lib/modules /usr/src /var/lib/dkms
for dir in /lib/modules /usr/src /var/lib/dkms; do
	mount -t tmpfs none "$dir"
done
modules=/lib/modules/$release
mkdir -p "$modules/kernel"
cp "$kernel/root/lib/modules/$release"/modules.* "$modules"
ln -s "$kernel/headers/build" "$modules/build"
ln -s "$kernel/headers/build" "/usr/src/linux-headers-$release"

# installed PATH: modprobe finds the module there, with this version and for this kernel.
installed() {
	local file
	file=$(modinfo -k "$release" -n estiba) || return 1
	echo "$file"
	case $file in "$1"*) ;; *) return 1 ;; esac
	modprobe -S "$release" --show-depends estiba
	[ "$(modinfo -F version "$file")" = "$version" ] &&
		[ "$(modinfo -F vermagic "$file" | cut -d' ' -f1)" = "$release" ]
}
# absent: there is no trace of the module.
absent() {
	! modinfo -k "$release" -n estiba && [ -z "$(find /lib/modules -name 'estiba*')" ]
}
signed() {
	[ "$(modinfo -F signer "$1")" = "$2" ]
}

# Only the files of a release, without build products.
mkdir "/usr/src/estiba-$version"
(cd "$top" && git ls-files -z kmod | tar -c --null -T -) | tar -x -C "/usr/src/estiba-$version" --strip-components=1

# exclusive: dkms.conf selects the right kernels and architectures.
exclusive() {
	# shellcheck disable=SC2034 # dkms.conf uses kernel_source_dir
	local BUILD_EXCLUSIVE_KERNEL='' BUILD_EXCLUSIVE_ARCH='' release arch kernel_source_dir=''
	# shellcheck disable=SC1090,SC1091
	. "/usr/src/estiba-$version/dkms.conf"
	for release in 5.10.0-43-amd64 5.14.0-570.el9.x86_64 5.15.0-91-generic 5.19.0 6.1.0-56-amd64 \
		6.12.0-55.el10.x86_64 7.2.13+deb14-amd64 10.0.0; do
		[[ $release =~ $BUILD_EXCLUSIVE_KERNEL ]] || { echo "does not select $release" && return 1; }
	done
	for release in 3.10.0-1160.el7.x86_64 4.18.0-553.el8_10.x86_64 5.1.16 5.4.0-150-generic 5.9.0; do
		[[ ! $release =~ $BUILD_EXCLUSIVE_KERNEL ]] || { echo "selects $release" && return 1; }
	done
	for arch in x86_64 aarch64; do
		[[ $arch =~ $BUILD_EXCLUSIVE_ARCH ]] || { echo "does not select $arch" && return 1; }
	done
	for arch in i686 armv7l aarch64_be riscv64; do
		[[ ! $arch =~ $BUILD_EXCLUSIVE_ARCH ]] || { echo "selects $arch" && return 1; }
	done
}
# skipped KERNEL ARCH: DKMS skips it, and says why.
skipped() {
	dkms build "estiba/$version" -k "$1" -a "$2" --kernelsourcedir "$modules/build" >"$log.refused" 2>&1 &&
		{ echo "DKMS built it" && return 1; }
	cat "$log.refused"
	grep -q BUILD_EXCLUSIVE "$log.refused"
}
# by_clang: the module is built with the compiler of the kernel, clang or gcc.
by_clang() {
	local tree=/lib/modules/tree
	mkdir -p "$tree"
	# shellcheck disable=SC2016
	printf 'modules:\n\t@echo "by $(or $(LLVM),gcc)"\n' >"$tree/Makefile"
	built() {
		make -s -C "/usr/src/estiba-$version" "KDIR=$tree" "$@" | tee -a "$log"
	}
	echo CONFIG_CC_IS_GCC=y >"$tree/.config"
	[ "$(built)" = "by gcc" ] || return 1
	echo CONFIG_CC_IS_CLANG=y >"$tree/.config"
	[ "$(built)" = "by 1" ] && [ "$(built LLVM=-16)" = "by -16" ] || return 1
	rm -r "$tree"
}

step "no module yet" absent
step "dkms.conf selects kernels and architectures" exclusive
step "module built with the kernel's compiler" by_clang
step "dkms add" dkms add "estiba/$version"
step "dkms skips a kernel before 5.10" skipped 5.4.0-150-generic x86_64
step "dkms skips a 32-bit architecture" skipped "$release" i686
step "dkms build" dkms build "estiba/$version" -k "$release"
step "dkms install" dkms install "estiba/$version" -k "$release"
step "dkms status" sh -c "dkms status estiba/$version | grep -q 'installed'"
step "modprobe finds the module of DKMS" installed "$modules/updates/dkms/estiba.ko"
step "module signed with the key of DKMS" signed "$modules/updates/dkms/estiba.ko" "DKMS module signing key"
step "dkms uninstall" dkms uninstall "estiba/$version" -k "$release"
step "no module after uninstall" absent
step "dkms autoinstall for a new kernel" dkms autoinstall -k "$release"
step "modprobe finds the module again" installed "$modules/updates/dkms/estiba.ko"
step "dkms remove" dkms remove "estiba/$version" --all
step "no module after remove" absent

# Manually, from the same sources.
source=/usr/src/estiba-$version
step "make" make -C "$source" "KDIR=$modules/build" CC=gcc-12
(cd "$source" && openssl req -new -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=estiba module/" \
	-outform DER -keyout estiba.key -out estiba.der) >>"$log" 2>&1 || die "openssl"
step "sign" "/usr/src/linux-headers-$release/scripts/sign-file" sha256 \
	"$source/estiba.key" "$source/estiba.der" "$source/estiba.ko"
step "module signed with our key" signed "$source/estiba.ko" "estiba module"
step "make install" make -C "$source" "KDIR=$modules/build" CC=gcc-12 install
step "modprobe finds the module of make install" installed "$modules/extra/estiba.ko"
step "make install kept the signature" signed "$modules/extra/estiba.ko" "estiba module"
step "make install below another root" make -C "$source" "KDIR=$modules/build" CC=gcc-12 INSTALL_MOD_PATH=/usr/src/root install
step "modinfo finds the module below that root" modinfo -b /usr/src/root -k "$release" estiba
step "make clean" make -C "$source" clean
step "make clean leaves no build products" sh -c "! find '$source' -name '*.o' -o -name '*.ko' | grep ."

echo "PASS: DKMS, make install and signing for $release"
