#!/usr/bin/env bash
# dkms.sh [--suite=bookworm]: walks the ways in which the module comes onto a
# machine, as README.md of the module tells them, for the newest cloud kernel of
# a Debian suite: DKMS (add, build, install, a new kernel's autoinstall, remove),
# `make install`, and signing by hand. All of it happens in mounts of its own over
# the folders of this machine: nothing of it is left.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
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

# modprobe finds it, it is of this version and for this kernel. there PATH
there() {
	local file
	file=$(modinfo -k "$release" -n estiba) || return 1
	echo "$file"
	case $file in "$1"*) ;; *) return 1 ;; esac
	modprobe -S "$release" --show-depends estiba
	[ "$(modinfo -F version "$file")" = "$version" ] &&
		[ "$(modinfo -F vermagic "$file" | cut -d' ' -f1)" = "$release" ]
}
# No trace of it.
gone() {
	! modinfo -k "$release" -n estiba && [ -z "$(find /lib/modules -name 'estiba*')" ]
}
signed() {
	[ "$(modinfo -F signer "$1")" = "$2" ]
}

# Only what a release has; a build's leftovers are not a source.
mkdir "/usr/src/estiba-$version"
(cd "$top" && git ls-files -z kmod | tar -c --null -T -) | tar -x -C "/usr/src/estiba-$version" --strip-components=1

step "nothing there yet" gone
step "dkms add" dkms add "estiba/$version"
step "dkms build" dkms build "estiba/$version" -k "$release"
step "dkms install" dkms install "estiba/$version" -k "$release"
step "dkms status" sh -c "dkms status estiba/$version | grep -q 'installed'"
step "modprobe finds what DKMS installed" there "$modules/updates/dkms/estiba.ko"
step "it is signed with the key of DKMS" signed "$modules/updates/dkms/estiba.ko" "DKMS module signing key"
step "dkms uninstall" dkms uninstall "estiba/$version" -k "$release"
step "gone after uninstall" gone
step "dkms autoinstall, as for a new kernel" dkms autoinstall -k "$release"
step "modprobe finds it again" there "$modules/updates/dkms/estiba.ko"
step "dkms remove" dkms remove "estiba/$version" --all
step "gone after remove" gone

# By hand, out of the same sources.
source=/usr/src/estiba-$version
step "make" make -C "$source" "KDIR=$modules/build" CC=gcc-12
(cd "$source" && openssl req -new -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=estiba module/" \
	-outform DER -keyout estiba.key -out estiba.der) >>"$log" 2>&1 || die "openssl"
step "sign" "/usr/src/linux-headers-$release/scripts/sign-file" sha256 \
	"$source/estiba.key" "$source/estiba.der" "$source/estiba.ko"
step "the signature is there" signed "$source/estiba.ko" "estiba module"
step "make install" make -C "$source" "KDIR=$modules/build" CC=gcc-12 install
step "modprobe finds what make installed" there "$modules/extra/estiba.ko"
step "it is the one that was signed" signed "$modules/extra/estiba.ko" "estiba module"
step "make clean" make -C "$source" clean
step "clean leaves nothing" sh -c "! find '$source' -name '*.o' -o -name '*.ko' | grep ."

echo "PASS: DKMS, make install and signing for $release"
