package collector

import (
	"fmt"
	"strconv"
)

// interfaceFamily is a metric with one sample per network interface of a container.
type interfaceFamily struct {
	Desc
	count  int // index in source.Interface.Counts
	labels func(*row) []byte
}

// interfaceFamilies returns the metrics of --metrics.interfaces.
func interfaceFamilies(set NameSet) (all []interfaceFamily) {
	for i, of := range []struct{ way, what, cadvisor, help string }{
		{"receive", "bytes", "", "Bytes received"},
		{"receive", "packets", "", "Packets received"},
		{"receive", "errors", "errors", "Packets received with an error"},
		{"receive", "dropped", "packets_dropped", "Received packets dropped"},
		{"transmit", "bytes", "", "Bytes sent"},
		{"transmit", "packets", "", "Packets sent"},
		{"transmit", "errors", "errors", "Packets not sent because of an error"},
		{"transmit", "dropped", "packets_dropped", "Packets dropped before sending"},
	} {
		help := of.help + " by one interface of the container's own network namespace, without loopback. Only with --metrics.interfaces, for at most 16 interfaces."
		if set != CAdvisor {
			name := fmt.Sprintf("estiba_container_interface_%s_%s_total", of.way, of.what)
			all = append(all, interfaceFamily{Desc{name, Counter, help, idName("interface")}, i, idLabels})
		}
		// For bytes and packets these names have the sum over all interfaces.
		if set != Estiba && of.cadvisor != "" {
			name := fmt.Sprintf("container_network_%s_%s_total", of.way, of.cadvisor)
			all = append(all, interfaceFamily{Desc{name, Counter, help, []string{"id", "name", "image", "interface"}}, i, cadvisorLabels})
		}
	}
	return all
}

// interfaces writes the families.
func (w *textWriter) interfaces(families []interfaceFamily, rows []row, openMetrics bool) {
	for i := range families {
		f := &families[i]
		header := false
		for k := range rows {
			for n := range rows[k].interfaces {
				one := &rows[k].interfaces[n]
				if !header {
					w.b, header = appendHeader(w.b, &f.Desc, openMetrics), true
				}
				w.b = append(w.b, f.Name...)
				w.b = append(w.b, '{')
				w.b = append(w.b, f.labels(&rows[k])...)
				w.b = appendLabel(w.b, "interface", one.Name)
				w.b = append(w.b, '}', ' ')
				w.b = strconv.AppendUint(w.b, one.Counts[f.count], 10)
				w.b = append(w.b, '\n')
				w.full()
			}
		}
	}
}
