# shellcheck shell=bash
# To be sourced: a Debian with its own systemd as process 1, in namespaces of its
# shellcheck disable=SC2154 # run.sh sets work and log

# own (processes, mounts, network, control groups). Its Docker Engine is ours.
machine=''

# start_machine NAME: a copy of the base, started.
start_machine() {
	local name=$1 root=$work/$1/root tries=0 state
	copy "$name"
	umount "$root/proc"
	mount -t sysfs none "$root/sys"
	# The group that may use the socket has the number it has here.
	chroot "$root" groupadd -r -o -g "$(stat -c %g /var/run/docker.sock)" docker
	touch "$root/run/docker.sock"
	mount --bind "$(realpath /var/run/docker.sock)" "$root/run/docker.sock"

	# Its control groups are below one of ours: it sees that as the root.
	group=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)/estiba-packages-$$
	mkdir "$group"
	cat >"$work/enter" <<'END'
set -e
echo $$ >"$2/cgroup.procs"
# Not chroot: the kernel gives no user namespace to who is in one (PrivateUsers=).
# Shared mounts are what systemd wants of who starts it: what it mounts aside
# for a service (LoadCredential=) has to be seen by that service.
exec unshare --cgroup sh -c 'mount -t proc proc "$1/proc" && mount -t cgroup2 none "$1/sys/fs/cgroup" &&
    cd "$1" && pivot_root . . && umount -l . && mount --make-rshared / && exec /lib/systemd/systemd --log-target=journal' sh "$1"
END
	container=estiba-test unshare --mount --pid --fork --uts --ipc --net sh "$work/enter" "$root" "$group" \
		</dev/null >>"$log/machine" 2>&1 &
	machine_outside=$!
	until state=$(on_machine systemctl is-system-running 2>/dev/null) || [ "$state" = degraded ]; do
		tries=$((tries + 1))
		if [ "$tries" -gt 150 ] || ! kill -0 "$machine_outside" 2>/dev/null; then
			tail -n 20 "$log/machine"
			die "systemd does not start: ${state:-no answer}"
		fi
		sleep 0.2
		machine=$(pgrep -P "$machine_outside" | head -n 1) || true
	done
	ok "systemd $(on_machine systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p') runs as process 1: $state"
}

# on_machine COMMAND…
on_machine() {
	[ -n "$machine" ] || return 1
	nsenter -t "$machine" --mount --pid --uts --ipc --net --cgroup --root --wd /usr/bin/env -i \
		PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root DEBIAN_FRONTEND=noninteractive TERM=dumb "$@"
}

stop_machine() {
	on_machine journalctl --no-pager >"$log/journal" 2>&1 || true
	# The end of its process 1 is the end of all of them.
	kill -KILL "$machine" 2>/dev/null || true
	wait "$machine_outside" 2>/dev/null || true
	machine=''
	local tries=0
	until find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || [ "$tries" -gt 25 ]; do
		tries=$((tries + 1))
		sleep 0.2
	done
	if [ -d "$group" ]; then fail "control groups are left in $group"; fi
}
