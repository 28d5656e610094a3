// Package load does the work of a stress container: four kinds, each as heavy as its
// parameters.
package load

import (
	"fmt"
	"strconv"

	"github.com/estiba/estiba/internal/container"
)

// Params are the parameters of a load. The fields that its kind does not use are zero.
type Params struct {
	Kind container.Kind
	// Share is the part of one core that cpu uses: 0.15 is 15 % of a core.
	Share float64
	// Bytes is the memory of ram, and the size of the file of io and disk.
	Bytes int64
	// Rate is steps per second: passes over the memory (ram), synchronous
	// writes (io), blocks written and read back (disk).
	Rate float64
	// Block is the size of one operation of io and disk, in bytes.
	Block int64
}

// directAlign is the alignment for O_DIRECT of offsets, lengths and buffers: at least
// the block size of the file system (open(2)).
const directAlign = 4096

// maxBytes bounds memory and files, in case of a typing error.
const maxBytes = 4 << 30

// Validate returns the first mistake in p, or nil.
func (p Params) Validate() error {
	if p.Kind == container.KindCPU {
		if !(p.Share > 0 && p.Share <= 1) {
			return fmt.Errorf("load %s: expected a share in (0, 1], found %v", p.Kind, p.Share)
		}
		return nil
	}
	if _, ok := container.ParseKind(string(p.Kind)); !ok {
		return fmt.Errorf("load: unknown kind %q", p.Kind)
	}
	if p.Bytes <= 0 || p.Bytes > maxBytes {
		return fmt.Errorf("load %s: expected 1 to %d bytes, found %d", p.Kind, int64(maxBytes), p.Bytes)
	}
	if !(p.Rate > 0 && p.Rate <= 10000) {
		return fmt.Errorf("load %s: expected a rate in (0, 10000], found %v", p.Kind, p.Rate)
	}
	if p.Kind == container.KindRAM {
		return nil
	}
	if p.Block <= 0 || p.Block > p.Bytes {
		return fmt.Errorf("load %s: expected a block of 1 to %d bytes, the size of the file, found %d", p.Kind, p.Bytes, p.Block)
	}
	if p.Kind == container.KindDisk && p.Block%directAlign != 0 {
		return fmt.Errorf("load %s: expected a block of a multiple of %d bytes, found %d", p.Kind, directAlign, p.Block)
	}
	return nil
}

// Args returns p as flags of the load command, without zero fields.
func (p Params) Args() []string {
	args := []string{"--kind=" + string(p.Kind)}
	if p.Share != 0 {
		args = append(args, "--share="+strconv.FormatFloat(p.Share, 'g', -1, 64))
	}
	if p.Bytes != 0 {
		args = append(args, "--bytes="+strconv.FormatInt(p.Bytes, 10))
	}
	if p.Rate != 0 {
		args = append(args, "--rate="+strconv.FormatFloat(p.Rate, 'g', -1, 64))
	}
	if p.Block != 0 {
		args = append(args, "--block="+strconv.FormatInt(p.Block, 10))
	}
	return args
}
