package image

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
)

// ErrDynamic means that a program needs shared libraries, which the image lacks.
var ErrDynamic = errors.New("the program is dynamically linked and cannot run in a scratch image: build it with CGO_ENABLED=0 (and without -race)")

// checkStatic returns an error for a program that is not an ELF file or has an
// interpreter (PT_INTERP, elf(5)).
func checkStatic(program []byte) error {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return fmt.Errorf("reading the program: %w", err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return ErrDynamic
		}
	}
	return nil
}
