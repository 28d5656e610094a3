package testutil

import (
	"net"
	"testing"
)

// Nobody gets a test's port while it runs, though nothing listens on it.
func TestFreeAddressIsKept(t *testing.T) {
	seen := map[string]bool{}
	for range 500 {
		address := FreeAddress(t)
		if seen[address] {
			t.Fatalf("%s was given twice", address)
		}
		seen[address] = true
	}
	for range 500 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if seen[l.Addr().String()] {
			t.Fatalf("the kernel gave %s away", l.Addr())
		}
	}
}
