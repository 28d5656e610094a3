package top

import (
	"time"

	"github.com/estiba/estiba/exporter/source"
)

// Figures are what one refresh shows.
type Figures struct {
	Time         time.Time `json:"time"`
	Interval     Value     `json:"interval_seconds,omitzero"` // that the rates are of; unknown in the first refresh
	Source       string    `json:"source"`
	Truncated    bool      `json:"truncated,omitempty"` // containers are missing
	Host         Host      `json:"host"`
	Sum          Usage     `json:"containers_sum"` // of the containers' known values
	Unattributed Usage     `json:"unattributed"`
	Rows         []Row     `json:"containers"`
}

// Host has the figures of the host as a whole.
type Host struct {
	Name            string   `json:"name,omitempty"`
	CPUs            Value    `json:"cpus,omitzero"`
	CPU             Value    `json:"cpu_percent,omitzero"` // of all CPUs
	MemoryTotal     Value    `json:"memory_total_bytes,omitzero"`
	MemoryUsed      Value    `json:"memory_used_bytes,omitzero"` // total - available
	Load            [3]Value `json:"load,omitzero"`              // of 1, 5 and 15 minutes
	PressureCPU     Value    `json:"pressure_cpu_percent,omitzero"`
	PressureMemory  Value    `json:"pressure_memory_percent,omitzero"`
	PressureIO      Value    `json:"pressure_io_percent,omitzero"`
	Processes       Value    `json:"processes,omitzero"`
	ContainersFound Value    `json:"containers,omitzero"`
}

// Row is one container.
type Row struct {
	ID      string `json:"id,omitempty"`
	Name    string `json:"name,omitempty"`
	Image   string `json:"image,omitempty"`
	Command string `json:"command,omitempty"` // comm of the init process
	Pod     string `json:"pod,omitempty"`
	Project string `json:"compose_project,omitempty"`
	Service string `json:"compose_service,omitempty"`
	Ended   bool   `json:"ended,omitempty"` // it exited a few seconds ago
	Usage

	key life
}

// Usage is what a container, a group, or the remainder uses. Percentages of time are of
// one core, or of one waiter: 100 means all the time. Bytes per second are of the
// interval.
type Usage struct {
	CPU            Value `json:"cpu_percent,omitzero"`
	Throttled      Value `json:"cpu_throttled_percent,omitzero"`
	WorkingSet     Value `json:"memory_working_set_bytes,omitzero"`
	RSS            Value `json:"memory_rss_bytes,omitzero"`
	Swap           Value `json:"memory_swap_bytes,omitzero"`
	Limit          Value `json:"memory_limit_bytes,omitzero"`
	OfLimit        Value `json:"memory_limit_percent,omitzero"` // working set
	PressureCPU    Value `json:"pressure_cpu_percent,omitzero"`
	PressureMemory Value `json:"pressure_memory_percent,omitzero"`
	PressureIO     Value `json:"pressure_io_percent,omitzero"`
	DiskRead       Value `json:"disk_read_bytes_per_second,omitzero"`
	DiskWrite      Value `json:"disk_write_bytes_per_second,omitzero"`
	NetRx          Value `json:"network_receive_bytes_per_second,omitzero"`
	NetTx          Value `json:"network_transmit_bytes_per_second,omitzero"`
	OOMKills       Value `json:"oom_kills,omitzero"`     // since the container's start
	OOMKillsNew    Value `json:"oom_kills_new,omitzero"` // in the interval
	Processes      Value `json:"processes,omitzero"`
	Threads        Value `json:"threads,omitzero"`
	Age            Value `json:"age_seconds,omitzero"`
}

// add adds the known values of a container. Limits, pressure and age have no sum.
func (u *Usage) add(o *Usage) {
	for _, v := range []struct{ to, more *Value }{
		{&u.CPU, &o.CPU},
		{&u.WorkingSet, &o.WorkingSet},
		{&u.RSS, &o.RSS},
		{&u.Swap, &o.Swap},
		{&u.DiskRead, &o.DiskRead},
		{&u.DiskWrite, &o.DiskWrite},
		{&u.NetRx, &o.NetRx},
		{&u.NetTx, &o.NetTx},
		{&u.OOMKills, &o.OOMKills},
		{&u.OOMKillsNew, &o.OOMKillsNew},
		{&u.Processes, &o.Processes},
		{&u.Threads, &o.Threads},
	} {
		*v.to = v.to.plus(*v.more)
	}
}

// pressure is the largest of the three, with the letter of its resource.
func (u *Usage) pressure() (Value, byte) {
	most, letter := u.PressureCPU, byte('c')
	for _, other := range []struct {
		v      Value
		letter byte
	}{{u.PressureMemory, 'm'}, {u.PressureIO, 'i'}} {
		if larger := most.larger(other.v); larger != most {
			most, letter = larger, other.letter
		}
	}
	return most, letter
}

// life is one life of a container: a restarted one keeps its id.
type life struct {
	id  string
	pid uint64
}

func lifeOf(c *source.Container) life {
	pid, _ := c.Get(source.PID)
	return life{c.ID, pid}
}
