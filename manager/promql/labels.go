package promql

import (
	"strings"

	"github.com/prometheus/common/model"
)

// publishedPrefix begins the names of Docker labels in metrics.
const publishedPrefix = "container_label_"

// LabelName is the name of a Docker label in estiba_container_info, if the exporter is
// configured to publish it.
func LabelName(docker string) string {
	return publishedPrefix + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, docker)
}

// publishedLabels are the Docker labels among l, nil if there are none.
func publishedLabels(l model.Metric) map[string]string {
	var labels map[string]string
	for name, value := range l {
		if !strings.HasPrefix(string(name), publishedPrefix) {
			continue
		}
		if labels == nil {
			labels = map[string]string{}
		}
		labels[string(name)] = string(value)
	}
	return labels
}
