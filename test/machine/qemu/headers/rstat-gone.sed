# in include/linux/cgroup-defs.h
# No real kernel: neither member exists.
s/^\tstruct cgroup_rstat_cpu __percpu \*rstat_cpu;$/\tstruct cgroup_rstat_cpu __percpu *rstat_elsewhere;/
