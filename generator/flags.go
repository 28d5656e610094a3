package main

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/version"

	"github.com/estiba/estiba/generator/image"
	"github.com/estiba/estiba/generator/load"
	"github.com/estiba/estiba/generator/lock"
	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/logging"
)

// defaultName is the same on every host: a generator owns what carries its
// name on the Engine it is pointed at.
const defaultName = "generator"

// settings is the command line.
type settings struct {
	Command string // run, once, clean, healthcheck or load

	DockerHost string
	Image      string
	Name       string
	Batch      int
	Interval   time.Duration
	Max        int
	Lifetime   time.Duration
	Seed       *uint64 // nil: the system's random source
	LockFile   string
	MaxAge     time.Duration // of the last whole batch, for the command healthcheck
	Log        *logging.Config

	Load    load.Params // of the command load
	LoadDir string
}

// validName is what a label value and a part of a file name can be without
// surprises.
var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$`)

// parse reads the command line.
func parse(args []string) (settings, error) {
	app := kingpin.New("generator", "Creates Docker containers that put a load on the host, so that there is something to manage.")
	app.Version(version.Print("generator"))
	app.HelpFlag.Short('h')
	s := settings{Log: logging.Flags(app)}
	app.Flag("docker.host", "Address of the Docker Engine.").Default(dockerclient.DefaultHost).StringVar(&s.DockerHost)
	app.Flag("name", "Name of this generator: it counts and removes only containers with this name in the label "+container.LabelGenerator+".").
		Default(defaultName).StringVar(&s.Name)

	var seed uint64
	var seeded bool
	locked := func(c *kingpin.CmdClause) {
		c.Flag("lock-file", "File that keeps runs of one generator from overlapping, and tells when the last whole batch was made. By default /run/lock/estiba-generator-NAME.lock (in the folder for temporary files where there is no /run/lock).").
			StringVar(&s.LockFile)
	}
	making := func(c *kingpin.CmdClause) {
		c.Flag("image", "Image of the containers. "+image.Default+" (with any tag) is made from this program; every other one is pulled if it is absent, and its program stress is run.").
			Default(image.Default).StringVar(&s.Image)
		c.Flag("batch", "How many containers a batch has.").Default("10").IntVar(&s.Batch)
		c.Flag("max", "How many containers of this generator may live at a time.").Default("60").IntVar(&s.Max)
		c.Flag("lifetime", "After which time a container ends by itself and is removed.").Default("10m").DurationVar(&s.Lifetime)
		c.Flag("seed", "Number from which the batches are drawn, names included: the same one gives the same batches. Without it they are drawn from the system's random source.").
			IsSetByUser(&seeded).Uint64Var(&seed)
		locked(c)
	}
	run := app.Command("run", "Create a batch now and one each interval, until SIGTERM or SIGINT. The containers stay: see clean.")
	making(run)
	run.Flag("interval", "Time from one batch to the next.").Default("30s").DurationVar(&s.Interval)
	making(app.Command("once", "Create one batch and exit, as cron wants it: 0 all created, 1 some or all failed, 75 another run holds the lock."))
	app.Command("clean", "Remove all containers of this generator, running or not, and nothing else.")

	health := app.Command("healthcheck", "Tell by the exit status whether the generator with this name or lock file makes batches.")
	locked(health)
	health.Flag("max-age", "How long ago the last whole batch may have been made.").Default("2m").DurationVar(&s.MaxAge)

	inside := app.Command("load", "What runs inside a container.").Hidden()
	var kind string
	inside.Flag("kind", "Kind of the load.").Required().EnumVar(&kind, kindNames()...)
	inside.Flag("share", "cpu: part of one core to burn.").Float64Var(&s.Load.Share)
	inside.Flag("bytes", "ram: bytes to hold; io and disk: size of the file.").Int64Var(&s.Load.Bytes)
	inside.Flag("rate", "Steps a second: passes over the memory, synchronous writes, blocks.").Float64Var(&s.Load.Rate)
	inside.Flag("block", "io and disk: bytes of one operation.").Int64Var(&s.Load.Block)
	inside.Flag("lifetime", "When to end by itself.").Required().DurationVar(&s.Lifetime)
	inside.Flag("dir", "io and disk: folder for the file.").Default(image.DataDir).StringVar(&s.LoadDir)

	if len(args) == 0 {
		return settings{}, errors.New("no command: run, once, clean or healthcheck; try --help")
	}
	command, err := app.Parse(args)
	if err != nil {
		return settings{}, fmt.Errorf("%w, try --help", err)
	}
	s.Command = command
	s.Load.Kind = container.Kind(kind)
	if seeded {
		s.Seed = &seed
	}
	if s.LockFile == "" {
		s.LockFile = lock.DefaultPath(s.Name)
	}
	return s, s.validate()
}

func (s settings) validate() error {
	if !validName.MatchString(s.Name) {
		return fmt.Errorf("--name=%q: want 1 to 64 of a-z A-Z 0-9 _ . -, the first a letter or digit", s.Name)
	}
	switch s.Command {
	case "clean":
		return nil
	case "healthcheck":
		if s.MaxAge < time.Second {
			return fmt.Errorf("--max-age=%s is shorter than a second", s.MaxAge)
		}
		return nil
	case "load":
		if s.Lifetime <= 0 {
			return fmt.Errorf("--lifetime=%s is not positive", s.Lifetime)
		}
		return s.Load.Validate()
	case "run":
		if s.Interval < time.Second {
			return fmt.Errorf("--interval=%s is shorter than a second", s.Interval)
		}
	}
	switch {
	case s.Image == "":
		return fmt.Errorf("--image is empty")
	case s.Batch < 1:
		return fmt.Errorf("--batch=%d is less than 1", s.Batch)
	case s.Max < 1:
		return fmt.Errorf("--max=%d is less than 1", s.Max)
	case s.Lifetime < time.Second:
		return fmt.Errorf("--lifetime=%s is shorter than a second", s.Lifetime)
	}
	return nil
}

func kindNames() []string {
	var names []string
	for _, k := range container.Kinds() {
		names = append(names, string(k))
	}
	return names
}
