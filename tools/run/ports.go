package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The parts that listen, in the order in which they are shown.
const (
	partExporter     = "exporter"
	partManager      = "manager"
	partPrometheus   = "prometheus"
	partAlertmanager = "alertmanager"
	partGrafana      = "grafana"

	partGenerator = "generator" // listens nowhere
)

// listeners are their usual ports, which the files in prometheus/ name, too.
var listeners = []struct {
	part string
	port int
}{
	{partExporter, 10120},
	{partManager, 10121},
	{partPrometheus, 9090},
	{partAlertmanager, 9093},
	{partGrafana, 3000},
}

// ports are the parts' ports, on loopback only.
type ports map[string]int

func usualPorts() ports {
	p := ports{}
	for _, l := range listeners {
		p[l.part] = l.port
	}
	return p
}

func partNames() string {
	var names []string
	for _, l := range listeners {
		names = append(names, l.part)
	}
	return strings.Join(names, ", ")
}

// set takes "19090" for one part.
func (p ports) set(part, value string) error {
	if _, known := p[part]; !known {
		return fmt.Errorf("no part is named %q: want one of %s", part, partNames())
	}
	port, err := strconv.Atoi(value)
	if err != nil || port < 1 || port > 65535 {
		return fmt.Errorf("port %q of %s: want a number from 1 to 65535", value, part)
	}
	p[part] = port
	return nil
}

// setList takes "prometheus=19090,grafana=13000".
func (p ports) setList(list string) error {
	for _, item := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		part, value, ok := strings.Cut(item, "=")
		if !ok {
			return fmt.Errorf("port %q: want PART=PORT, as in prometheus=19090", item)
		}
		if err := p.set(part, value); err != nil {
			return err
		}
	}
	return nil
}

// check fails if two parts have the same port.
func (p ports) check() error {
	taken := map[int]string{}
	for _, l := range listeners {
		port := p[l.part]
		if other := taken[port]; other != "" {
			return fmt.Errorf("%s and %s cannot both listen on port %d", other, l.part, port)
		}
		taken[port] = l.part
	}
	return nil
}

func (p ports) address(part string) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(p[part]))
}

func (p ports) url(part string) string { return "http://" + p.address(part) }

// usual reports whether part has the port that the files in prometheus/ name.
func (p ports) usual(part string) bool { return p[part] == usualPorts()[part] }

// free fails when another program listens on a part's port: it names the port, who has
// it, and what to type instead. A run that was killed gets until within to let go.
func (p ports) free(ctx context.Context, within time.Duration, parts ...string) error {
	deadline := time.Now().Add(within)
	for _, part := range parts {
		for {
			l, err := net.Listen("tcp", p.address(part))
			if err == nil {
				l.Close()
				break
			}
			if time.Now().After(deadline) {
				who := holder(p[part])
				if who == "" {
					who = "another program"
				}
				return fmt.Errorf("port %d of %s is taken by %s: stop that, or type: make run PORTS=%s=%d",
					p[part], part, who, part, freePort(p[part]))
			}
			if err := pause(ctx, 200*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// freePort is a port like port on which nobody listens: 19090 for 9090.
func freePort(port int) int {
	for candidate := port + 10000; candidate < 65536; candidate++ {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", candidate)); err == nil {
			l.Close()
			return candidate
		}
	}
	return 1024
}

// holder is who listens on a TCP port, as "nginx (pid 812)", or "" where it is not in
// this PID namespace or hidden from us.
func holder(port int) string {
	var sockets []string
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		sockets = append(sockets, listening(data, port)...)
	}
	if len(sockets) == 0 {
		return ""
	}
	descriptors, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, descriptor := range descriptors {
		target, err := os.Readlink(descriptor)
		if err != nil || !slices.Contains(sockets, target) {
			continue
		}
		pid := strings.Split(descriptor, "/")[2]
		if fields, err := statFields(pid); err == nil {
			return fmt.Sprintf("%s (pid %s)", fields[1], pid)
		}
	}
	return ""
}

// listening are the sockets of a table of proc_net_tcp(5) that listen on port, as
// "socket:[INODE]".
func listening(table []byte, port int) []string {
	const stateListen = "0A"
	var found []string
	for _, line := range bytes.Split(table, []byte("\n")) {
		fields := strings.Fields(string(line))
		if len(fields) < 10 || fields[3] != stateListen {
			continue
		}
		_, hex, _ := strings.Cut(fields[1], ":")
		if n, err := strconv.ParseUint(hex, 16, 16); err == nil && int(n) == port {
			found = append(found, "socket:["+fields[9]+"]")
		}
	}
	return found
}
