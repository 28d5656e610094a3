package procfile

import (
	"bytes"
	"fmt"

	"github.com/estiba/estiba/exporter/source/scan"
)

// The counters of an Interface, in the order of Counts.
const (
	RxBytes = iota
	RxPackets
	RxErrors
	RxDropped
	TxBytes
	TxPackets
	TxErrors
	TxDropped

	NumTraffic
)

// columns returns the used columns of /proc/PID/net/dev, in the order of Counts.
func columns() [NumTraffic]int { return [NumTraffic]int{0, 1, 2, 3, 8, 9, 10, 11} }

// Interface has the counters of one network interface.
type Interface struct {
	Name   string
	Counts [NumTraffic]uint64
}

// ParseInterfaces parses /proc/PID/net/dev (proc_pid_net(5)) without loopback. bad is
// the number of lines that were not parsable; two missing heading lines are an error. A
// name may contain colons (an alias, "eth0:1"), and the first number may follow the
// colon directly. For a duplicate interface the larger, newer numbers count.
func ParseInterfaces(b []byte) (all []Interface, bad int, err error) {
	for range 2 {
		var heading []byte
		if heading, b = scan.Line(b); bytes.Count(heading, []byte("|")) != 2 {
			return nil, 0, fmt.Errorf("proc_pid_net(5): %w: no headings", ErrFormat)
		}
	}
	var index byName
	for len(b) > 0 {
		var line []byte
		line, b = scan.Line(b)
		i := bytes.LastIndexByte(line, ':')
		if i < 0 {
			if word, _ := scan.Word(line); len(word) > 0 {
				bad++
			}
			continue
		}
		name, _ := scan.Word(line[:i])
		if string(name) == "lo" {
			continue
		}
		counts, ok := traffic(line[i+1:])
		if len(name) == 0 || !ok {
			bad++
			continue
		}
		if at, ok := index.of(all, name); ok {
			for i, v := range counts {
				all[at].Counts[i] = max(all[at].Counts[i], v)
			}
			continue
		}
		all = append(all, Interface{string(name), counts})
		index.add(all)
	}
	return all, bad, nil
}

// byName indexes interfaces by name. It is used only for many interfaces, which a
// container with the right capability can create.
type byName map[string]int

const few = 16

func (x byName) of(all []Interface, name []byte) (int, bool) {
	if x != nil {
		at, ok := x[string(name)]
		return at, ok
	}
	for i := range all {
		if all[i].Name == string(name) {
			return i, true
		}
	}
	return 0, false
}

// add adds the last interface.
func (x *byName) add(all []Interface) {
	if len(all) < few {
		return
	}
	if *x == nil {
		*x = byName{}
		for i := range all {
			(*x)[all[i].Name] = i
		}
	}
	(*x)[all[len(all)-1].Name] = len(all) - 1
}

// traffic parses the numbers of one interface. The last number of a truncated line is
// not valid.
func traffic(b []byte) (counts [NumTraffic]uint64, ok bool) {
	column := 0
	for i, at := range columns() {
		var word []byte
		for ; column <= at; column++ {
			word, b = scan.Word(b)
		}
		if counts[i], ok = scan.Uint(word); !ok || len(b) == 0 {
			return counts, false
		}
	}
	return counts, true
}
