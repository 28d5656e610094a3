package collector

import (
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/procfs"
)

// countFilesEvery is the interval between counts of open files, which before Linux 6.2
// requires listing them.
const countFilesEvery = time.Minute

// process collects the standard metrics of the exporter's own process. The collector of
// client_golang also reads the statistics of the whole network namespace, which takes
// half a millisecond per scrape, as much as a hundred containers.
type process struct {
	cpu, rss, vsz, start, fds, maxFDs *prometheus.Desc
	started                           float64

	mu        sync.Mutex
	countedAt time.Time
	open      int
}

// NewProcess returns a collector of the process_… metrics.
func NewProcess() prometheus.Collector {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc("process_"+name, help, nil, nil) }
	return &process{
		cpu:     desc("cpu_seconds_total", "Total user and system CPU time spent in seconds."),
		rss:     desc("resident_memory_bytes", "Resident memory size in bytes."),
		vsz:     desc("virtual_memory_bytes", "Virtual memory size in bytes."),
		start:   desc("start_time_seconds", "Start time of the process since unix epoch in seconds."),
		fds:     desc("open_fds", "Number of open file descriptors, counted once a minute."),
		maxFDs:  desc("max_fds", "Maximum number of open file descriptors."),
		started: float64(time.Now().UnixMilli()) / 1000,
	}
}

// Describe lists the metrics.
func (p *process) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{p.cpu, p.rss, p.vsz, p.start, p.fds, p.maxFDs} {
		ch <- d
	}
}

// Collect reads them: getrusage(2), proc_pid_stat(5), getrlimit(2).
func (p *process) Collect(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, t prometheus.ValueType, v float64, err error) {
		if err != nil {
			ch <- prometheus.NewInvalidMetric(d, err)
			return
		}
		ch <- prometheus.MustNewConstMetric(d, t, v)
	}
	var used syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	send(p.cpu, prometheus.CounterValue, float64(used.Utime.Nano()+used.Stime.Nano())/1e9, err)
	own, err := procfs.Self()
	var stat procfs.ProcStat
	if err == nil {
		stat, err = own.Stat()
	}
	send(p.vsz, prometheus.GaugeValue, float64(stat.VirtualMemory()), err)
	send(p.rss, prometheus.GaugeValue, float64(stat.ResidentMemory()), err)
	send(p.start, prometheus.GaugeValue, p.started, nil)
	open, err := p.files(own)
	send(p.fds, prometheus.GaugeValue, float64(open), err)
	var limit syscall.Rlimit
	err = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	send(p.maxFDs, prometheus.GaugeValue, float64(limit.Cur), err)
}

// files returns the number of open files.
func (p *process) files(own procfs.Proc) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.countedAt) < countFilesEvery {
		return p.open, nil
	}
	n, err := own.FileDescriptorsLen()
	if err != nil {
		return 0, fmt.Errorf("counting open files: %w", err)
	}
	p.open, p.countedAt = n, time.Now()
	return p.open, nil
}
