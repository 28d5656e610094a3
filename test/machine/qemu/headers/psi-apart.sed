# in include/linux/cgroup-defs.h
# Only 6.1's change of struct cgroup, backported: PSI is a separate allocation, everything
# else is unchanged, including the version. From the sources of 5.10 and 6.1; no known
# distribution has exactly this.
s/^\tstruct psi_group psi;$/\tstruct psi_group *psi;/
# in include/linux/cgroup.h
s/^\treturn &cgrp->psi;$/\treturn cgrp->psi;/
