package image

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
)

// ErrDynamic says that a program needs shared libraries, which an image of
// nothing but the program does not have.
var ErrDynamic = errors.New("this program is linked dynamically and cannot run in an image of its own: build it with CGO_ENABLED=0 (and without -race)")

// checkStatic refuses a program that is no ELF file or names an interpreter
// (PT_INTERP, elf(5)).
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
