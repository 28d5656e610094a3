package soak

// Sample is one sample of a series in Prometheus.
type Sample struct{ At, Value float64 }

// Decrease is a decrease of a counter between two samples.
type Decrease struct{ From, To Sample }

// Decreases returns the decreases of a counter within one life of the exporter process.
// process is a counter of the process from the same scrapes: a decrease means that the
// exporter was restarted.
func Decreases(counter, process []Sample) (found []Decrease) {
	for i := 1; i < len(counter); i++ {
		if from, to := counter[i-1], counter[i]; to.Value < from.Value && !anotherLife(process, from.At, to.At) {
			found = append(found, Decrease{from, to})
		}
	}
	return found
}

func anotherLife(process []Sample, from, to float64) bool {
	for i := 1; i < len(process); i++ {
		if process[i].Value < process[i-1].Value && process[i].At > from && process[i-1].At < to {
			return true
		}
	}
	return false
}
