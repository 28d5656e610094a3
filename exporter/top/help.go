package top

// helpLines is the help screen; it fits into 80 columns and 24 lines.
func helpLines(s screen) []line {
	lines := []line{{{"estiba top", titleStyle}, {"  what containers use, live", normal}}, nil}
	row := func(key, text string) {
		lines = append(lines, line{{fit(key, 14, false), bold}, {text, normal}})
	}
	row("q  Ctrl-C", "quit")
	row("/", "filter by name, id, image, command, project; Esc removes it")
	row("t", "tree: group by the project of Docker Compose, with sums")
	row("<  >  r", "sort by another column; reverse")
	row("c m l p d n", "sort by CPU, memory, % of limit, pressure, disk, network")
	row("o x g a", "sort by OOM kills, processes, age, name")
	row("Space", "pause")
	row("↑ ↓ PgUp PgDn", "scroll (also k j, Home, End)")
	lines = append(lines, nil)
	row("CPU% THR%", "CPU time, time throttled by the limit; 100 is one core")
	row("MEM  %LIM", "working set: memory without inactive file cache; % of the limit")
	row("PSI", "share of time in which a task waited for (c)pu, (m)emory or (i)o:")
	row("", "the highest; of a group, of its container that waits most")
	row("READ/s WRIT/s", "bytes from and to storage")
	row("RX/s TX/s", "bytes received and sent")
	row("OOM", "kills by the OOM killer since the container's start")
	row("PROC", "processes")
	row("–", "unknown: this kernel or this user cannot read it")
	row("unattributed", "what belongs to no container; its memory is RSS")
	lines = append(lines, nil)
	return append(lines[:min(len(lines), max(0, s.height-1))], line{{"any key returns", dim}})
}
