// Package load is the work that a stress container does: four kinds, each
// real and distinct, each as heavy as its parameters say.
package load

import (
	"fmt"
	"strconv"

	"github.com/estiba/estiba/internal/container"
)

// Params says what a load does. Which fields count depends on the kind; the
// others are zero.
type Params struct {
	Kind container.Kind
	// Share is the part of one core that cpu burns: 0.15 is 15 % of a core.
	Share float64
	// Bytes is what ram holds, and the size of the file of io and disk.
	Bytes int64
	// Rate is steps a second: passes over the memory (ram), synchronous
	// writes (io), blocks written and read back (disk).
	Rate float64
	// Block is the bytes of one operation of io and disk.
	Block int64
}

// directAlign is what O_DIRECT wants of offsets, lengths and buffers: the
// block size of the file system at most (open(2)).
const directAlign = 4096

// maxBytes bounds memory and files, against a slip of the finger.
const maxBytes = 4 << 30

// Validate tells what is wrong with p, nil if nothing.
func (p Params) Validate() error {
	if p.Kind == container.KindCPU {
		if !(p.Share > 0 && p.Share <= 1) {
			return fmt.Errorf("load %s: share %v is not in (0, 1]", p.Kind, p.Share)
		}
		return nil
	}
	if _, ok := container.ParseKind(string(p.Kind)); !ok {
		return fmt.Errorf("load: unknown kind %q", p.Kind)
	}
	if p.Bytes <= 0 || p.Bytes > maxBytes {
		return fmt.Errorf("load %s: %d bytes are not in 1 to %d", p.Kind, p.Bytes, int64(maxBytes))
	}
	if !(p.Rate > 0 && p.Rate <= 10000) {
		return fmt.Errorf("load %s: rate %v is not in (0, 10000]", p.Kind, p.Rate)
	}
	if p.Kind == container.KindRAM {
		return nil
	}
	if p.Block <= 0 || p.Block > p.Bytes {
		return fmt.Errorf("load %s: a block of %d bytes is not in 1 to %d, the size of the file", p.Kind, p.Block, p.Bytes)
	}
	if p.Kind == container.KindDisk && p.Block%directAlign != 0 {
		return fmt.Errorf("load %s: a block of %d bytes is no multiple of %d", p.Kind, p.Block, directAlign)
	}
	return nil
}

// Args writes p as the flags of the load command, those that count only.
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
