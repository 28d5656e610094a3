package soak

// Sample is one sample of a series in Prometheus.
type Sample struct{ At, Value float64 }

// Fall is a counter that fell between two samples.
type Fall struct{ From, To Sample }

// Falls returns where a counter fell while one process of the exporter lived.
// process is a counter of the process itself out of the same scrapes: where it
// falls, another process was scraped.
func Falls(counter, process []Sample) (falls []Fall) {
	for i := 1; i < len(counter); i++ {
		if from, to := counter[i-1], counter[i]; to.Value < from.Value && !anotherLife(process, from.At, to.At) {
			falls = append(falls, Fall{from, to})
		}
	}
	return falls
}

func anotherLife(process []Sample, from, to float64) bool {
	for i := 1; i < len(process); i++ {
		if process[i].Value < process[i-1].Value && process[i].At > from && process[i-1].At < to {
			return true
		}
	}
	return false
}
