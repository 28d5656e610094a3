# in include/linux/cgroup-defs.h
# The first step of 6.16's change, backported to 6.12: the CPU time is in rstat_base_cpu,
# and rstat_cpu still exists, without it.
s/^struct cgroup_rstat_cpu {$/struct cgroup_rstat_base_cpu {/
s/^\tstruct cgroup_base_stat last_subtree_bstat;$/&\n};\n\nstruct cgroup_rstat_cpu {/
s/^\tstruct cgroup_rstat_cpu __percpu \*rstat_cpu;$/&\n\tstruct cgroup_rstat_base_cpu __percpu *rstat_base_cpu;/
