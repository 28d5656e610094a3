# in include/linux/cgroup.h
# No real kernel: a header that does not compile, with either member.
s/^#define _LINUX_CGROUP_H$/&\nno_type broken;/
