package collector

// openFilesFamilies returns the metrics of --metrics.open-files.
func openFilesFamilies(set NameSet) (all []family) {
	const help = "Number of open file descriptors of the container's processes. Summed over processes: a descriptor shared by two processes counts twice. Absent if one of the processes is not readable. Only with --metrics.open-files."
	value := func(r *row) (uint64, bool) { return r.container.OpenFiles, r.container.HasOpenFiles }
	if set != CAdvisor {
		all = append(all, family{
			Desc:   Desc{"estiba_container_open_files", Gauge, help, idName()},
			points: []point{{labels: idLabels, value: value}},
		})
	}
	if set != Estiba {
		all = append(all, family{
			Desc:   Desc{"container_file_descriptors", Gauge, help, []string{"id", "name", "image"}},
			points: []point{{labels: cadvisorLabels, value: value}},
		})
	}
	return all
}
