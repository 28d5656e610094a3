package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// methods are those that can be allowed; every other one is refused.
func methods() []string { return []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} }

// config is the command line.
type config struct {
	listen      string // host:port
	socket      string
	from        []string // host names, addresses or networks that may ask
	allow       map[string]*regexp.Regexp
	health      bool
	watch       time.Duration // 0: not at all
	stopOnWatch bool
}

// parse reads the command line. A pattern has to match a whole path.
func parse(args []string) (config, error) {
	c := config{allow: map[string]*regexp.Regexp{}}
	f := flag.NewFlagSet("socketproxy", flag.ContinueOnError)
	ip := f.String("listenip", "127.0.0.1", "IP address to listen on")
	port := f.Uint("proxyport", 2375, "TCP port to listen on")
	from := f.String("allowfrom", "127.0.0.1/32", "who may ask: host names or networks, with commas between them")
	watch := f.Uint("watchdoginterval", 0, "seconds between two looks at the Engine's socket; 0: none")
	f.StringVar(&c.socket, "socketpath", "/var/run/docker.sock", "the Engine's socket")
	f.BoolVar(&c.health, "allowhealthcheck", false, "answer the program healthcheck, on "+healthAddress)
	f.BoolVar(&c.stopOnWatch, "stoponwatchdog", false, "end when the Engine's socket is gone")
	patterns := map[string]*string{}
	for _, m := range methods() {
		patterns[m] = f.String("allow"+m, "", "pattern of the paths that "+m+" is allowed for; without it, none")
	}
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if net.ParseIP(*ip) == nil {
		return c, fmt.Errorf("-listenip=%s is no IP address", *ip)
	}
	if *port == 0 || *port > 65535 {
		return c, fmt.Errorf("-proxyport=%d is no port", *port)
	}
	if *from == "" {
		return c, errors.New("-allowfrom is empty")
	}
	c.listen, c.from = net.JoinHostPort(*ip, strconv.Itoa(int(*port))), strings.Split(*from, ",")
	c.watch = time.Duration(*watch) * time.Second
	for m, p := range patterns {
		if *p == "" {
			continue
		}
		compiled, err := regexp.Compile("^(?:" + *p + ")$")
		if err != nil {
			return c, fmt.Errorf("-allow%s: %w", m, err)
		}
		c.allow[m] = compiled
	}
	return c, nil
}
