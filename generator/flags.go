package main

import (
	"fmt"
	"regexp"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/estiba/estiba/generator/image"
	"github.com/estiba/estiba/generator/load"
	"github.com/estiba/estiba/generator/lock"
	"github.com/estiba/estiba/internal/cli"
	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/logging"
)

// defaultName is the same on every host: a generator owns the containers with its name
// on its Docker Engine.
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
	MaxAge     time.Duration // of the last complete batch, for the command healthcheck
	Log        *logging.Config

	Load    load.Params // of the command load
	LoadDir string
}

// validName matches names that are safe as a label value and in a file name.
var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$`)

// parse parses the command line.
func parse(args []string) (settings, error) {
	app := cli.New("generator", "Creates stress containers on a Docker Engine.")
	s := settings{Log: logging.Flags(app.Application)}
	dockerHost := app.DockerHost("")
	app.Flag("name", "Name of this generator. It counts and removes only containers with this name in the label "+container.LabelGenerator+".").
		Default(defaultName).StringVar(&s.Name)

	var seed uint64
	var seeded bool
	locked := func(c *kingpin.CmdClause) {
		c.Flag("lock-file", "Lock file against overlapping runs; stores the time of the last complete batch. Default: /run/lock/estiba-generator-NAME.lock, or in the directory for temporary files if /run/lock does not exist.").
			PlaceHolder("FILE").StringVar(&s.LockFile)
	}
	making := func(c *kingpin.CmdClause) {
		c.Flag("image", "Image of the containers. "+image.Default+" (with any tag) is built from this program; any other image is pulled if absent, and its program stress is run.").
			Default(image.Default).StringVar(&s.Image)
		c.Flag("batch", "Number of containers in a batch.").Default("10").IntVar(&s.Batch)
		c.Flag("max", "Maximum number of live containers of this generator.").Default("60").IntVar(&s.Max)
		c.Flag("lifetime", "Time after which a container exits and is removed.").Default("10m").DurationVar(&s.Lifetime)
		c.Flag("seed", "Random seed of the batches, including names: the same seed gives the same batches. Default: the system's random source.").
			PlaceHolder("NUMBER").IsSetByUser(&seeded).Uint64Var(&seed)
		locked(c)
	}
	run := app.Command("run", "Create a batch now and every --interval, until SIGTERM or SIGINT. The containers stay: see clean.")
	making(run)
	run.Flag("interval", "Time between batches.").Default("30s").DurationVar(&s.Interval)
	making(app.Command("once", "Create one batch and exit, for cron. Exit status: 0 all created, 1 some or all failed, 75 another run holds the lock."))
	app.Command("clean", "Remove all containers of this generator, running or not.")

	health := app.Command("healthcheck", "Check the health of the local generator (exit status 0 = healthy).")
	locked(health)
	health.Flag("max-age", "Maximum age of the last complete batch.").Default("2m").DurationVar(&s.MaxAge)

	inside := app.Command("load", "Run a load; the program of the containers.").Hidden()
	var kind string
	inside.Flag("kind", "Kind of the load.").Required().EnumVar(&kind, kindNames()...)
	inside.Flag("share", "cpu: part of one core to use.").Float64Var(&s.Load.Share)
	inside.Flag("bytes", "ram: bytes to hold; io and disk: size of the file.").Int64Var(&s.Load.Bytes)
	inside.Flag("rate", "Steps per second: passes over the memory, synchronous writes, blocks.").Float64Var(&s.Load.Rate)
	inside.Flag("block", "io and disk: size of one operation in bytes.").Int64Var(&s.Load.Block)
	inside.Flag("lifetime", "Time after which the load exits.").Required().DurationVar(&s.Lifetime)
	inside.Flag("dir", "io and disk: directory for the file.").Default(image.DataDir).StringVar(&s.LoadDir)

	app.Heeds(health, "name")
	command, err := app.Parse(args)
	if err != nil {
		return settings{}, err
	}
	s.Command, s.DockerHost = command, *dockerHost
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
		return fmt.Errorf("--name=%q: expected 1 to 64 of a-z A-Z 0-9 _ . -, starting with a letter or digit", s.Name)
	}
	switch s.Command {
	case "clean":
		return nil
	case "healthcheck":
		if s.MaxAge < time.Second {
			return fmt.Errorf("--max-age=%s: must be at least 1s", s.MaxAge)
		}
		return nil
	case "load":
		if s.Lifetime <= 0 {
			return fmt.Errorf("--lifetime=%s: must be positive", s.Lifetime)
		}
		return s.Load.Validate()
	case "run":
		if s.Interval < time.Second {
			return fmt.Errorf("--interval=%s: must be at least 1s", s.Interval)
		}
	}
	switch {
	case s.Image == "":
		return fmt.Errorf("--image: must not be empty")
	case s.Batch < 1:
		return fmt.Errorf("--batch=%d: must be at least 1", s.Batch)
	case s.Max < 1:
		return fmt.Errorf("--max=%d: must be at least 1", s.Max)
	case s.Lifetime < time.Second:
		return fmt.Errorf("--lifetime=%s: must be at least 1s", s.Lifetime)
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
