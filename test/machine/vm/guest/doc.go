// Package guest tests the whole system in the test machine: Debian's kernel and Docker
// Engine, the kernel module and all programs. The tests need the build tag estiba_vm;
// ../run.sh builds the machine and runs them.
package guest
