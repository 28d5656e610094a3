# in include/linux/psi_types.h
# Ubuntu 22.04, from the BTF of its 5.15: struct cgroup as in 5.10, with an embedded struct
# psi_group that has one more state, PSI_CPU_FULL, so six totals.
s/^\tPSI_CPU_SOME,$/&\n\tPSI_CPU_FULL,/
s/NR_PSI_STATES = 6/NR_PSI_STATES = 7/
