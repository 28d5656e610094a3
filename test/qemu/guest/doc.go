// Package guest is what tests the kernel module inside the test machine. Its
// tests exist only with the build tag estiba_guest; run.sh, one folder up,
// builds the machine around them.
package guest
