// Package guest tests the whole of Estiba inside the test machine: Debian's
// kernel and Docker Engine, the kernel module and all programs. Its test exists
// only with the build tag estiba_vm; run.sh, one folder up, builds the machine
// around it.
package guest
