package collector

import (
	"sort"
)

// Descs lists every metric that the exporter itself can publish with the
// given names, sorted by name. The process_… and go_… ones of its process
// come on top.
func Descs(set NameSet) []Desc {
	var all []Desc
	if set != CAdvisor {
		for _, f := range containerFamilies() {
			all = append(all, f.Desc)
		}
		all = append(all, labelErrors())
	}
	if set != Estiba {
		for _, f := range cadvisorFamilies() {
			all = append(all, f.Desc)
		}
		for _, f := range machineFamilies() {
			all = append(all, f.Desc)
		}
	}
	for _, f := range hostFamilies() {
		all = append(all, f.Desc)
	}
	all = append(all, selfDescs()...)
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}
