# in include/linux/cgroup-defs.h
# Ubuntu 24.04, from the BTF of its 6.8: struct cgroup as in 6.12, with one more member,
# congestion_count.
s/^\tstruct psi_group \*psi;$/&\n\tatomic_t congestion_count;/
