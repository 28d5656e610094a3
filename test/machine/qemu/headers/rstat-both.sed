# in include/linux/cgroup-defs.h
# No real kernel: both members seem to have the CPU time.
s/^struct cgroup_freezer_state {$/struct cgroup_rstat_base_cpu {\n\tstruct cgroup_base_stat bstat, last_bstat;\n};\n\n&/
s/^\tstruct cgroup_rstat_cpu __percpu \*rstat_cpu;$/&\n\tstruct cgroup_rstat_base_cpu __percpu *rstat_base_cpu;/
