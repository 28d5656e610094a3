package testutil

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// FreeAddress is a loopback address whose port is this test's own until the test ends,
// whether anything listens on it or not. A port that the kernel chose (":0") would be
// free for the next caller as soon as it is closed here, and a Prometheus that is to
// scrape a program that does not run would find another test's. So the port is below
// those that the kernel chooses from, and a lock on a file keeps it from other test
// processes.
func FreeAddress(t *testing.T) string {
	t.Helper()
	const lowest = 20000
	first, err := firstEphemeralPort()
	if err != nil {
		t.Fatal(err)
	}
	if first < lowest+1000 {
		t.Fatalf("net.ipv4.ip_local_port_range begins at %d: tests need the ports from %d to %d", first, lowest, lowest+1000)
	}
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("estiba-test-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		port := lowest + rand.IntN(first-lowest)
		lock, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
			lock.Close()
			continue
		}
		address := "127.0.0.1:" + strconv.Itoa(port)
		l, err := net.Listen("tcp", address)
		if err != nil {
			lock.Close()
			continue
		}
		l.Close()
		t.Cleanup(func() { lock.Close() })
		return address
	}
	t.Fatal("no free port in a thousand tries")
	return ""
}

// firstEphemeralPort is the lowest port that the kernel gives to who asks for any:
// ip(7), ip_local_port_range.
func firstEphemeralPort() (int, error) {
	const path = "/proc/sys/net/ipv4/ip_local_port_range"
	content, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	var first, last int
	if _, err := fmt.Sscan(string(content), &first, &last); err != nil {
		return 0, fmt.Errorf("%s: %q: %w", path, content, err)
	}
	return first, nil
}
