package cli

import (
	"errors"
	"fmt"
	"io"

	commandline "github.com/estiba/estiba/internal/cli"
	"github.com/estiba/estiba/manager/config"
)

// Check checks policy files; the error lists all errors in them.
func Check(files []string, stdout io.Writer) error {
	p := commandline.PaintFor(stdout)
	var wrong []error
	for _, file := range files {
		c, err := config.LoadOrBuiltIn(file)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		rules := fmt.Sprintf("%d rules", len(c.Rules))
		if len(c.Rules) == 1 {
			rules = "1 rule"
		}
		fmt.Fprintf(stdout, "%s: %s, mode %s, %s, every %s\n", config.PolicyName(file), p.Green("ok"), c.Mode, rules, c.Interval)
	}
	return errors.Join(wrong...)
}
