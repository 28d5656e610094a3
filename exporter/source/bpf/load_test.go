package bpf

import (
	"fmt"
	"testing"
	"time"
)

func TestTry(t *testing.T) {
	t0 := time.Now()
	iter, f, err := load("/sys")
	if err != nil {
		t.Fatalf("%+v", err)
	}
	fmt.Println(f, time.Since(t0))
	r := &reader{iter: iter, features: f, buf: make([]byte, 64<<10)}
	for range 5 {
		t0 = time.Now()
		p, err := r.Read()
		fmt.Println(len(p.Processes), len(p.Groups), len(p.Devices), err, time.Since(t0))
	}
	for _, p := range r.pass.Processes {
		fmt.Printf("%+v\n", p)
	}
	for _, p := range r.pass.Groups {
		fmt.Printf("%+v\n", p)
	}
	for _, p := range r.pass.Devices {
		fmt.Printf("%+v\n", p)
	}
}
