# shellcheck shell=bash disable=SC2034 # the caller uses the variables
# To be sourced. architecture KERNEL: sets these variables for the architecture of the
# kernel in KERNEL (see kernel.sh):
#
#   cross     prefix of compiler and binutils
#   kbuild    arguments of make, for kbuild
#   goarch    name of the architecture in Go
#   busybox   a static busybox
#   machine   QEMU with the machine type
#   boot      kernel parameters
architecture() {
	local arch=amd64
	[ ! -e "$1/arch" ] || arch=$(cat "$1/arch")
	goarch=$arch
	case $arch in
	amd64)
		cross='' kbuild=() boot='console=ttyS0'
		busybox=$(command -v busybox)
		# Without cmpxchg16b: Debian 12's QEMU corrupts flags around it.
		machine=(qemu-system-x86_64 -cpu 'max,-cx16')
		;;
	arm64)
		cross=aarch64-linux-gnu- kbuild=(ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu-)
		busybox=$1/tools/bin/busybox
		# All features, from PAN to pointer authentication. The architected
		# cipher of pointer authentication is far too slow in QEMU.
		machine=(qemu-system-aarch64 -M virt -cpu 'max,pauth-impdef=on')
		# KPTI doubles the time and makes no difference to a module.
		boot='console=ttyAMA0 kpti=off'
		;;
	*)
		echo "architecture.sh: unknown architecture $arch" >&2
		return 1
		;;
	esac
}
