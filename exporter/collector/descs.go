package collector

import (
	"sort"
)

// Descs lists all metrics with the given names, sorted by name, without process_… and
// go_….
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
	for _, f := range interfaceFamilies(set) {
		all = append(all, f.Desc)
	}
	for _, f := range openFilesFamilies(set) {
		all = append(all, f.Desc)
	}
	for _, f := range hostFamilies() {
		all = append(all, f.Desc)
	}
	all = append(all, selfDescs()...)
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}
