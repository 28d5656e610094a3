// Package guest tests the kernel module in the test machine. The tests need the build tag
// estiba_guest; ../run.sh builds the machine and runs them.
package guest
