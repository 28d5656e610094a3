# in include/linux/cgroup-defs.h
# RHEL 9 has a kernel named 5.14. In include/linux of CentOS Stream 9 (9.6 and newer),
# struct cgroup is like that of 6.8: psi is a pointer, rstat_cpu has bstat, last_bstat and
# the sums of the subtree, ancestors[] are pointers; and rss_stat of struct mm_struct is an
# array of percpu_counter, as since 6.2. So this is 6.12, named 5.14, without a newer
# member.
/^\tint nr_dying_subsys\[CGROUP_SUBSYS_COUNT\];$/d
