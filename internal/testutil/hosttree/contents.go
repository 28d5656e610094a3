package hosttree

import "sort"

// contents are the files that are the same for all processes and containers. The numbers
// differ, so that tests detect mixed-up fields.
func contents() map[string]string {
	psi := func(us string) string {
		return "some avg10=0.00 avg60=0.00 avg300=0.00 total=" + us + "\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
	}
	const dev = "Inter-|   Receive                                                |  Transmit\n" +
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n" +
		"    lo:  999999    9999    0    0    0     0          0         0   999999    9999    0    0    0     0       0          0\n" +
		"  eth0:  500000    5000    0    0    0     0          0         0   300000    3000    0    0    0     0       0          0\n" +
		"  eth1:   50000     500    0    0    0     0          0         0    30000     300    0    0    0     0       0          0\n"
	pressures := map[string]string{"cpu.pressure": psi("1111"), "memory.pressure": psi("2222"), "io.pressure": psi("3333")}
	files := map[string]string{
		"io":  "rchar: 41000\nwchar: 42000\nsyscr: 430\nsyscw: 440\nread_bytes: 45056\nwrite_bytes: 49152\ncancelled_write_bytes: 0\n",
		"dev": dev,

		"cpuacct/cpuacct.usage":      "7654321000\n",
		"cpuacct/cpuacct.usage_user": "5000000000\n",
		"cpuacct/cpuacct.usage_sys":  "2654321000\n",
		"cpu/cpu.stat":               "nr_periods 10\nnr_throttled 2\nthrottled_time 123456789\n",
		"cpu/cpu.cfs_quota_us":       "150000\n",
		"cpu/cpu.cfs_period_us":      "100000\n",

		"memory/memory.usage_in_bytes":                    "67108864\n",
		"memory/memory.limit_in_bytes":                    "268435456\n",
		"memory/memory.stat":                              "cache 1\nrss 2\nswap 3\ninactive_file 4\nhierarchical_memory_limit 268435456\ntotal_cache 40960\ntotal_rss 20480\ntotal_swap 16384\ntotal_inactive_file 1048576\n",
		"memory/memory.oom_control":                       "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n",
		"blkio/blkio.throttle.io_service_bytes_recursive": "8:0 Read 700000\n8:0 Write 800000\n8:0 Total 1500000\n8:16 Read 70000\n8:16 Write 80000\nTotal 1650000\n",

		"v2/cpu.stat":            "usage_usec 7654321\nuser_usec 5000000\nsystem_usec 2654321\nnr_periods 10\nnr_throttled 2\nthrottled_usec 123456\n",
		"v2/cpu.max":             "150000 100000\n",
		"v2/memory.current":      "67108864\n",
		"v2/memory.max":          "268435456\n",
		"v2/memory.swap.current": "16384\n",
		"v2/memory.stat":         "anon 20480\nfile 40960\nkernel 4096\ninactive_anon 1\nactive_anon 2\ninactive_file 1048576\nactive_file 3\n",
		"v2/memory.events":       "low 0\nhigh 0\nmax 3\noom 5\noom_kill 5\n",
		"v2/io.stat":             "8:0 rbytes=700000 wbytes=800000 rios=7 wios=8 dbytes=0 dios=0\n8:16 rbytes=70000 wbytes=80000 rios=7 wios=8 dbytes=0 dios=0\n",

		"hybrid/cpu.stat": "usage_usec 7654321\nuser_usec 5000000\nsystem_usec 2654321\n",
	}
	for name, content := range pressures {
		files["v2/"+name], files["hybrid/"+name] = content, content
	}
	return files
}

// perController lists the files of each controller's cgroups.
func perController() map[string][]string {
	m := map[string][]string{}
	for name := range contents() {
		for i := range name {
			if name[i] == '/' {
				m[name[:i]] = append(m[name[:i]], name[i+1:])
			}
		}
	}
	for _, files := range m {
		sort.Strings(files)
	}
	return m
}
