package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	commandline "github.com/estiba/estiba/internal/cli"
	"github.com/estiba/estiba/manager/policytest"
)

// errCases: cases failed; their mistakes have been printed.
var errCases = errors.New("policy tests failed")

// Test runs policy test files. binary is the program prometheus.
func Test(ctx context.Context, files []string, binary string, stdout io.Writer) error {
	p := commandline.PaintFor(stdout)
	failed := 0
	for _, file := range files {
		fmt.Fprintln(stdout, p.Bold(file))
		err := policytest.Run(ctx, file, binary, func(c policytest.Case) {
			if len(c.Mistakes) == 0 {
				fmt.Fprintf(stdout, "  %s  %s\n", p.Green("ok    "), c.Name)
				return
			}
			failed++
			fmt.Fprintf(stdout, "  %s  %s\n", p.Red("FAILED"), c.Name)
			for _, line := range c.Mistakes {
				fmt.Fprintf(stdout, "          %s\n", line)
			}
		})
		if err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%w: %d cases", errCases, failed)
	}
	return nil
}
