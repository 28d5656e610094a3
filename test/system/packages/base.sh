# shellcheck shell=bash
# To be sourced: the Debian on which all is tried.
# shellcheck disable=SC2154 # run.sh sets top, here and work

base=$top/build/cache/packages/base

# make_base: systemd as process 1, what checks and builds packages, and a kernel
# that has headers. Made again when a week old or when this function has changed.
make_base() {
	local cache=$top/build/cache/packages stamp
	mkdir -p "$cache"
	exec 8>"$cache/lock"
	flock 8
	stamp=$(sed -n '/^make_base/,/^}/p' "$here/base.sh" | cksum)
	if [ "$(cat "$cache/stamp" 2>/dev/null)" = "$stamp" ] && [ -n "$(find "$cache/stamp" -mtime -7)" ]; then
		return 0
	fi
	rm -rf "$cache/base" "$cache/stamp"
	bash "$top/test/machine/qemu/sources.sh" bookworm >"$cache/sources.list" || return 1
	apt-config dump | grep -E '^Acquire::(http|https|Check-|Retries)' >"$cache/apt.conf" || true
	mmdebstrap --quiet --mode=root --variant=essential \
		--include=apt,systemd-sysv,procps,curl,lintian,dkms,linux-headers-amd64 \
		--aptopt="$cache/apt.conf" --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' --customize-hook='rm "$1/etc/dpkg/dpkg.cfg.d/99mmdebstrap"' \
		bookworm "$cache/base" "$cache/sources.list" >"$cache/mmdebstrap.log" 2>&1 || {
		tail -n 5 "$cache/mmdebstrap.log"
		return 1
	}
	echo "$stamp" >"$cache/stamp"
}

# copy NAME: a writable copy of it at $work/NAME/root, in memory.
copy() {
	local dir=$work/$1
	mountpoint -q "$work/mem" || { mkdir -p "$work/mem" && mount -t tmpfs -o size=2g none "$work/mem"; }
	mkdir -p "$dir/root" "$work/mem/$1/upper" "$work/mem/$1/work"
	mount -t overlay none -o "lowerdir=$base,upperdir=$work/mem/$1/upper,workdir=$work/mem/$1/work" "$dir/root"
	devices "$dir/root/dev"
	mount -t proc proc "$dir/root/proc"
	mount -t tmpfs none "$dir/root/run"
	mkdir -p "$dir/root/packages"
}
# devices FOLDER: those that every container has. Not the machine's own: what a
# systemd does to them would be done to ours.
devices() {
	local name major minor
	mount -t tmpfs -o mode=755 none "$1"
	while read -r name major minor; do
		mknod -m 666 "$1/$name" c "$major" "$minor"
	done <<<"null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0"
	ln -s /proc/self/fd "$1/fd"
	ln -s fd/0 "$1/stdin"
	ln -s fd/1 "$1/stdout"
	ln -s fd/2 "$1/stderr"
	mkdir -m 1777 "$1/shm"
	mkdir "$1/pts"
	mount -t devpts -o newinstance,ptmxmode=666 none "$1/pts"
	ln -s pts/ptmx "$1/ptmx"
}
# inside NAME COMMAND…
inside() {
	local name=$1
	shift
	chroot "$work/$name/root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root \
		DEBIAN_FRONTEND=noninteractive TERM=dumb "$@"
}
