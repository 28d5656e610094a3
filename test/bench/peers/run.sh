#!/bin/sh
# Builds cAdvisor and measures it beside the exporter, one after the other, on
# real containers. Arguments go to the test: -peer-containers, -peer-minutes,
# -peer-lively. As root, with dockerd installed.
set -eu
cd "$(dirname "$0")"
# shellcheck source=../../../tools/go.sh
. ../../../tools/go.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
CGO_ENABLED=0 go build -trimpath -o "$dir/cadvisor" ./cadvisor
cadvisor="$dir/cadvisor -docker ENGINE -listen LISTEN"
trimmed="-docker_only -housekeeping_interval=10s -disable_metrics=$(
	tr '\n' , <<'EOF' | sed 's/,$//'
advtcp
app
cpu_topology
cpuLoad
cpuset
disk
diskIO
hugetlb
memory_numa
percpu
perf_event
pressure
process
referenced_memory
resctrl
sched
tcp
udp
EOF
)"
cd ../../..
go test ./exporter -run 'TestAgainstPeers$' -count=1 -timeout=3h -v "$@" \
	-peers "cAdvisor, defaults=$cadvisor;cAdvisor, trimmed=$cadvisor $trimmed"
