# shellcheck shell=bash
# To be sourced: the life of the packages on a host.
# shellcheck disable=SC2154 # run.sh sets work, debs and version

exporter_at=http://127.0.0.1:10120 manager_at=http://127.0.0.1:10121

# eventually SECONDS COMMAND…: that it works within that time.
eventually() {
	local until=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$until" ] || return 1
		sleep 0.5
	done
}
# publishes ADDRESS PATTERN: a sample that matches is among the metrics.
publishes() { on_machine curl -fsS "$1/metrics" >"$work/metrics" && grep -qE "$2" "$work/metrics"; }
lacks() { on_machine curl -fsS "$1/metrics" >"$work/metrics" && ! grep -E "$2" "$work/metrics"; }
active() { on_machine systemctl is-active "$1"; }
not() { ! "$@"; }

# status UNIT PATTERN: what the kernel says of the unit's process.
status() {
	local pid
	pid=$(on_machine systemctl show -p MainPID --value "$1")
	on_machine grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):' "/proc/$pid/status"
	on_machine cat "/proc/$pid/status" | tr '\t' ' ' | grep -qE "$2"
}
not_root() { status "$1" '^Uid: [1-9]'; }

install_packages() {
	cp "$@" "$work/host/root/packages/"
	on_machine sh -c 'dpkg -i --force-confdef /packages/*.deb && rm /packages/*.deb' </dev/null
}

# What is on the file system, without what changes by itself: what systemd and
# dpkg write, and what DKMS made for itself: a key, the kernel's list of modules.
everything() {
	(cd "$work/$1/root" && find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./tmp -o \
		-path ./var/tmp -o -path ./var/log -o -path ./var/cache -o -path ./var/lib/dpkg -o -path ./var/lib/systemd -o \
		-path ./packages \) -prune -o -print) | grep -vE '^\./(var/lib/dkms/mok\..*|usr/lib/modules/[^/]*/modules\..*|var/lib/private|etc/(group|gshadow)-?|etc/machine-id|lost\+found)$' | sort
}

# A container as the exporter believes one: a shim that is root, with a child of
# another user in a network of its own that reads and writes.
fake_container() {
	on_machine sh -c 'cp /bin/bash /usr/local/bin/containerd-shim-runc-v2 &&
        systemd-run --quiet --unit=shim -p Delegate=yes /usr/local/bin/containerd-shim-runc-v2 -c "\
            unshare --net setpriv --reuid=4711 --regid=4711 --clear-groups \
            sh -c \"while :; do head -c 100000 /dev/zero >/dev/null; sleep 1; done\" & wait" \
            shim -namespace moby -id '"$(printf 'c0ffee%058d' 1)"
}
sample='\{id="c0ffee000000"'

test_bare() {
	everything bare >"$work/before"
	# shellcheck disable=SC2086
	cp $debs "$work/bare/root/packages/"
	must "install all four where systemd does not run" inside bare sh -c 'dpkg -i /packages/*.deb && rm /packages/*.deb'
	try "systemd-analyze verify" verified
	try "DKMS has built the module, of its version" module_built bare
	try "the exporter is enabled for the next start" test -L "$work/bare/root/etc/systemd/system/multi-user.target.wants/estiba-exporter.service"
	try "the manager and the generator are not" sh -c "! find '$work/bare/root/etc/systemd/system' | grep -E 'manager|generator'"
	try "the group docker was made" grep -q '^docker:' "$work/bare/root/etc/group"
	try "the exporter runs" inside bare sh -c 'estiba-exporter --web.listen-address=127.0.0.1:10120 --source=cgroup >/tmp/log 2>&1 & pid=$!
        for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.5; estiba-exporter --web.listen-address=127.0.0.1:10120 healthcheck && break; done
        curl -fsS http://127.0.0.1:10120/metrics >/tmp/metrics; kill $pid; wait $pid
        cat /tmp/log; grep -x "estiba_scrape_success 1" /tmp/metrics && grep -Fx "estiba_source_active{source=\"cgroup\"} 1" /tmp/metrics'
	try "the installed policies are good" inside bare sh -c 'for f in /etc/estiba/policy.yml /usr/share/estiba/policies/*.yml; do estiba-manager check $f || exit 1; done'
	try "the programs say the version they were built from" inside bare sh -c "for p in exporter manager generator; do estiba-\$p --version 2>&1 | grep -F 'version $version ' || exit 1; done"
	try "purge" inside bare dpkg --purge estiba-exporter estiba-manager estiba-generator estiba-dkms
	everything bare >"$work/after"
	try "nothing is left but the group docker" diff "$work/before" "$work/after"
}

module_built() {
	local file
	file=$(find "$work/$1/root/usr/lib/modules" -name 'estiba.ko*')
	echo "module: $file"
	[ -n "$file" ] && [ "$(modinfo -F version "$file")" = "$(sed -n 's/^PACKAGE_VERSION="\(.*\)"$/\1/p' "$work/one/kmod/dkms.conf")" ]
}

test_exporter() {
	must "the exporter runs after its installation" active estiba-exporter
	try "it is enabled" on_machine systemctl is-enabled estiba-exporter
	try "it answers" eventually 30 on_machine estiba-exporter --web.listen-address=127.0.0.1:10120 healthcheck
	try "it has a source" publishes "$exporter_at" '^estiba_scrape_success 1$'
	# A BPF program reads the host, and this machine is a PID namespace of it.
	try "that of /proc and cgroups" publishes "$exporter_at" '^estiba_source_active\{source="cgroup"\} 1$'
	try "the log says why it is not BPF" on_machine sh -c "journalctl -u estiba-exporter | grep \"requires the host's PID namespace\""
	try "it reaches the Docker Engine" eventually 30 publishes "$exporter_at" '^estiba_docker_up 1$'
	try "it listens on loopback only" on_machine sh -c '! grep -q " 00000000:2788 " /proc/net/tcp && grep " 0100007F:2788 " /proc/net/tcp && ! grep ":2788 0000" /proc/net/tcp6'
	try "it is not root" not_root estiba-exporter
	# CAP_DAC_READ_SEARCH is 2, CAP_SYS_PTRACE 19, CAP_PERFMON 38, CAP_BPF 39.
	try "it has four capabilities and may have no other" status estiba-exporter '^CapBnd: 000000c000080004$'
	try "they are in force" status estiba-exporter '^CapEff: 000000c000080004$'
	try "it may gain no right" status estiba-exporter '^NoNewPrivs: 1$'
	try "its calls are filtered" status estiba-exporter '^Seccomp: 2$'

	must "a container to look at" fake_container
	# It never gets cgroups of its own, which the exporter waits for: ten seconds.
	try "the exporter sees it" eventually 30 publishes "$exporter_at" "^estiba_container_processes$sample"
	try "with its I/O" eventually 30 publishes "$exporter_at" "^estiba_container_io_read_bytes_total$sample"
	try "and its network" eventually 30 publishes "$exporter_at" "^estiba_container_network_receive_bytes_total$sample"
	without "CAP_DAC_READ_SEARCH" CAP_SYS_PTRACE
	try "then I/O is missing" lacks "$exporter_at" "^estiba_container_io_read_bytes_total$sample"
	try "and network is not" publishes "$exporter_at" "^estiba_container_network_receive_bytes_total$sample"
	without "CAP_SYS_PTRACE" CAP_DAC_READ_SEARCH
	try "then I/O is missing" lacks "$exporter_at" "^estiba_container_io_read_bytes_total$sample"
	try "and network" lacks "$exporter_at" "^estiba_container_network_receive_bytes_total$sample"
	without "both" ""
	try "then I/O is missing" lacks "$exporter_at" "^estiba_container_io_read_bytes_total$sample"
	try "and memory is not" publishes "$exporter_at" "^estiba_container_memory_rss_bytes$sample"
	try "the log says what is missing" on_machine sh -c 'journalctl -u estiba-exporter | grep CAP_SYS_PTRACE'
	on_machine rm -r /etc/systemd/system/estiba-exporter.service.d
	try "with all again it is whole" sh_machine 'systemctl daemon-reload && systemctl restart estiba-exporter'
	try "I/O is back" eventually 30 publishes "$exporter_at" "^estiba_container_io_read_bytes_total$sample"
	on_machine sh -c 'systemctl stop shim; rm /usr/local/bin/containerd-shim-runc-v2'

	# As docs/systemd.md and docs/security.md have it: files that only root may
	# read, of which systemd makes a copy for the service.
	must "TLS and a password from files of root's" tls_files
	local web=--web.config.file=/etc/estiba/web.yml
	local asks=(curl -fsS --cacert /etc/estiba/host.crt https://127.0.0.1:10120/metrics)
	try "it answers" eventually 30 on_machine estiba-exporter --web.listen-address=127.0.0.1:10120 "$web" healthcheck
	try "it serves who has the password" on_machine "${asks[@]}" -u prometheus:secret
	try "and no other user" not on_machine "${asks[@]}"
	try "nor without TLS" not on_machine curl -fsS -u prometheus:secret "$exporter_at/metrics"
	on_machine sh -c 'rm -r /etc/systemd/system/estiba-exporter.service.d /etc/estiba/web.yml /etc/estiba/host.*'
	try "and without" sh_machine 'systemctl daemon-reload && systemctl restart estiba-exporter'

	on_machine mv /etc/default/estiba-exporter /root/
	try "without its flags it does not start" not on_machine systemctl restart estiba-exporter
	on_machine mv /root/estiba-exporter /etc/default/
	try "with them it does" sh_machine 'systemctl reset-failed estiba-exporter; systemctl restart estiba-exporter'
}
tls_files() {
	local etc=$work/host/root/etc/estiba
	(umask 077 && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=host \
		-addext subjectAltName=IP:127.0.0.1 -keyout "$etc/host.key" -out "$etc/host.crt") || return 1
	# The password is "secret".
	(umask 077 && cat >"$etc/web.yml") <<'END'
tls_server_config:
  cert_file: host.crt
  key_file: host.key
basic_auth_users:
  prometheus: $2y$04$NKMi8NS8vmY6zPConUvDjOVG.ISCdVxcL.Yt7yy5HMXH3Zg1eVi9K
END
	sh_machine 'mkdir -p /etc/systemd/system/estiba-exporter.service.d
        cat >/etc/systemd/system/estiba-exporter.service.d/test.conf <<END
[Service]
LoadCredential=web.yml:/etc/estiba/web.yml
LoadCredential=host.crt:/etc/estiba/host.crt
LoadCredential=host.key:/etc/estiba/host.key
ExecStart=
ExecStart=/usr/bin/estiba-exporter \$ARGS --web.config.file=/run/credentials/estiba-exporter.service/web.yml
END
        systemctl daemon-reload && systemctl restart estiba-exporter'
}
sh_machine() { on_machine sh -c "$1"; }

# without WHAT REST: the exporter with no capability but REST.
without() {
	try "the exporter without $1" on_machine sh -c 'mkdir -p /etc/systemd/system/estiba-exporter.service.d
        printf "[Service]\nCapabilityBoundingSet=\nCapabilityBoundingSet=%s\nAmbientCapabilities=\nAmbientCapabilities=%s\n" "$1" "$1" \
            >/etc/systemd/system/estiba-exporter.service.d/test.conf
        systemctl daemon-reload && systemctl restart estiba-exporter' sh "$2"
	try "it sees the container" eventually 30 publishes "$exporter_at" "^estiba_container_processes$sample"
	# Time for what comes with the second look only.
	sleep 1
}

test_manager() {
	try "the manager does not run after its installation" not active estiba-manager
	must "it is started by hand" on_machine systemctl enable --now estiba-manager
	try "it answers" eventually 30 on_machine estiba-manager --web.listen-address=127.0.0.1:10121 healthcheck
	# There is no Prometheus here. What runs is asked before that.
	try "it reaches the Docker Engine" eventually 30 publishes "$manager_at" '^estiba_manager_ticks_total\{result="prometheus_error"\} [1-9]'
	try "without an error" publishes "$manager_at" '^estiba_manager_ticks_total\{result="docker_error"\} 0$'
	try "it is not root" not_root estiba-manager
	try "it has no capability" status estiba-manager '^CapEff: 0000000000000000$'
	try "and may have none" status estiba-manager '^CapBnd: 0000000000000000$'
	try "its calls are filtered" status estiba-manager '^Seccomp: 2$'
	try "its record has a folder, for root and itself" sh_machine '[ -d /var/lib/estiba/manager ] && [ "$(stat -L -c %a /var/lib/estiba/manager)" = 750 ] && ls /var/lib/estiba/manager | grep audit'
	on_machine sed -i 's/^interval: 10s/interval: 11s/' /etc/estiba/policy.yml
	try "it takes a changed policy" on_machine systemctl reload estiba-manager
	try "and says so" eventually 30 publishes "$manager_at" '^estiba_manager_config_last_reload_successful 1$'
	on_machine sh -c 'cp /etc/estiba/policy.yml /root/ && echo wrong: 1 >>/etc/estiba/policy.yml && systemctl reload estiba-manager'
	try "a bad policy is refused" eventually 30 publishes "$manager_at" '^estiba_manager_config_last_reload_successful 0$'
	on_machine sh -c 'cp /root/policy.yml /etc/estiba/policy.yml && rm /root/policy.yml && systemctl reload estiba-manager'
}

# Containers of the machine's generator in the Engine. Its name is not that of
# other generators that may be at work there.
generated() {
	[ "$(curl -fsS --unix-socket /var/run/docker.sock -G --data-urlencode \
		"filters={\"label\":[\"estiba.generator=$generator\"]}" http://docker/containers/json | grep -o '"Id"' | wc -l)" -eq "$1" ]
}
test_generator() {
	generator=packages-$$
	try "the generator does not run after its installation" not active estiba-generator.timer
	on_machine sed -i "s#^ARGS=.*#ARGS=\"--name=$generator --batch=2 --lifetime=2m --lock-file=/run/lock/estiba-generator-generator.lock\"#" /etc/default/estiba-generator
	try "its lock is for those who may use Docker" sh_machine '[ "$(stat -c "%a %U %G" /run/lock/estiba-generator-generator.lock)" = "660 root docker" ]'
	must "a batch" on_machine systemctl start estiba-generator.service
	try "two containers run" generated 2
	try "while another run holds the lock, nothing is done, and that is no failure" \
		on_machine flock /run/lock/estiba-generator-generator.lock systemctl start estiba-generator.service
	try "two containers run still" generated 2
	try "the exporter knows their kinds" sh_machine 'journalctl -u estiba-generator | grep "already running"'
	try "the timer is started by hand" on_machine systemctl enable --now estiba-generator.timer
	try "it makes batches" eventually 90 generated 4
	try "clean removes them" on_machine estiba-generator "--name=$generator" clean
	on_machine systemctl stop estiba-generator.timer
	try "none is left" eventually 30 generated 0
}

# newer OUT: the packages as a later version has them, with new flags as default.
newer() {
	local deb dir
	mkdir -p "$1" "$work/newer"
	for deb in $debs; do
		dir=$work/newer/$(basename "$deb")
		dpkg-deb -R "$deb" "$dir" || return 1
		sed -i 's/^Version: .*/Version: 1.0.1-1/' "$dir/DEBIAN/control"
		for conf in "$dir"/etc/default/*; do [ ! -f "$conf" ] || echo "# of the newer version" >>"$conf"; done
		dpkg-deb --root-owner-group -Znone --build "$dir" "$1" >/dev/null || return 1
	done
}
pid_of() { on_machine systemctl show -p MainPID --value "$1"; }

test_upgrade() {
	local exporter manager
	exporter=$(pid_of estiba-exporter) manager=$(pid_of estiba-manager)
	must "packages of a later version" newer "$work/newer-debs"
	must "upgrade" install_packages "$work"/newer-debs/*.deb
	try "the changed policy stays" on_machine grep -qx 'interval: 11s' /etc/estiba/policy.yml
	try "changed flags stay" on_machine grep -q "name=$generator" /etc/default/estiba-generator
	try "unchanged flags are replaced by the newer ones" on_machine grep -qx '# of the newer version' /etc/default/estiba-exporter
	try "the exporter was started again" sh_machine "systemctl is-active estiba-exporter && [ \$(systemctl show -p MainPID --value estiba-exporter) != $exporter ]"
	try "and the manager" sh_machine "systemctl is-active estiba-manager && [ \$(systemctl show -p MainPID --value estiba-manager) != $manager ]"
	try "the generator was not" not active estiba-generator.timer
	try "the module is built anew" module_built host
	on_machine systemctl disable --now estiba-exporter
	must "install again" install_packages "$work"/newer-debs/estiba-exporter*.deb
	try "an exporter that was disabled stays so" not active estiba-exporter
}

test_removal() {
	try "remove" on_machine dpkg -r estiba-exporter estiba-manager estiba-generator estiba-dkms
	try "nothing of them runs" not sh_machine 'pgrep -a estiba'
	try "the policy stays" on_machine test -f /etc/estiba/policy.yml
	try "the record stays" sh_machine 'ls /var/lib/estiba/manager/ | grep audit'
	try "the module is gone" not module_built host
	try "purge" on_machine dpkg --purge estiba-exporter estiba-manager estiba-generator estiba-dkms
	everything host >"$work/after"
	try "nothing is left" diff "$work/before" "$work/after"
	try "no unit is known to systemd" sh_machine '! systemctl list-unit-files --no-legend "estiba*" | grep .'
	try "no unit has failed" sh_machine '! systemctl --failed --no-legend | grep .'
}

test_host() {
	test_bare
	start_machine host
	everything host >"$work/before"
	# shellcheck disable=SC2086
	must "install all four where systemd runs" install_packages $debs
	test_exporter
	test_manager
	test_generator
	test_upgrade
	test_removal
	stop_machine
}
