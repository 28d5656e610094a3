package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// engine implements the API calls of the exporter for a range of API versions.
type engine struct {
	host        string
	newest      int // minor API version
	oldest      int
	mu          sync.Mutex
	containers  map[string]engineContainer
	followers   map[chan engineEvent]bool
	answer      func(w http.ResponseWriter, r *http.Request) bool
	server      *http.Server
	disconnects chan struct{}
}

type engineContainer struct {
	Name   string
	Image  string
	Labels map[string]string
}

type engineEvent struct{ action, id string }

// startEngine starts an engine with API versions 1.oldest to 1.newest.
func startEngine(t testing.TB, oldest, newest int) *engine {
	t.Helper()
	dir, err := os.MkdirTemp("", "engine") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{
		host: "unix://" + filepath.Join(dir, "s"), oldest: oldest, newest: newest,
		containers: map[string]engineContainer{}, followers: map[chan engineEvent]bool{},
	}
	e.start(t)
	t.Cleanup(func() {
		e.stop()
		os.RemoveAll(dir)
	})
	return e
}

func (e *engine) start(t testing.TB) {
	t.Helper()
	socket := strings.TrimPrefix(e.host, "unix://")
	os.Remove(socket)
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	e.disconnects = make(chan struct{})
	e.server = &http.Server{Handler: http.HandlerFunc(e.serve)}
	go e.server.Serve(l)
}

// stop breaks all connections, as a crash does.
func (e *engine) stop() {
	close(e.disconnects)
	e.server.Close()
}

// put creates, changes or (nil) removes a container and sends an event.
func (e *engine) put(action, id string, c *engineContainer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c == nil {
		delete(e.containers, id)
	} else {
		e.containers[id] = *c
	}
	for f := range e.followers {
		select {
		case f <- engineEvent{action, id}:
		default:
		}
	}
}

// instead calls answer first; it returns whether it has answered.
func (e *engine) instead(answer func(w http.ResponseWriter, r *http.Request) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answer = answer
}

func (e *engine) serve(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	answer := e.answer
	e.mu.Unlock()
	if answer != nil && answer(w, r) {
		return
	}
	w.Header().Set("Api-Version", fmt.Sprintf("1.%d", e.newest))
	w.Header().Set("Ostype", "linux")
	if r.URL.Path == "/_ping" {
		fmt.Fprint(w, "OK")
		return
	}
	version, path := e.newest, strings.TrimPrefix(r.URL.Path, "/")
	if rest, ok := strings.CutPrefix(path, "v1."); ok {
		number, after, _ := strings.Cut(rest, "/")
		version, _ = strconv.Atoi(number)
		path = after
	}
	if version < e.oldest || version > e.newest {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"message":"client version 1.%d is not supported: 1.%d to 1.%d are"}`, version, e.oldest, e.newest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch {
	case path == "_ping":
		fmt.Fprint(w, "OK")
	case path == "containers/json":
		e.list(w)
	case path == "events":
		e.events(w, r)
	case strings.HasPrefix(path, "containers/"):
		e.inspect(w, strings.TrimSuffix(strings.TrimPrefix(path, "containers/"), "/json"))
	default:
		http.NotFound(w, r)
	}
}

func (e *engine) list(w http.ResponseWriter) {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := []map[string]any{}
	for id, c := range e.containers {
		list = append(list, map[string]any{
			"Id": id, "Names": []string{"/" + c.Name}, "Image": c.Image, "Labels": c.Labels,
			"State": "running", "Created": 1780000000, "SizeRw": 4096,
		})
	}
	json.NewEncoder(w).Encode(list)
}

func (e *engine) inspect(w http.ResponseWriter, id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, ok := e.containers[id]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"message":"No such container: %s"}`, id)
		return
	}
	json.NewEncoder(w).Encode(map[string]any{
		"Id": id, "Name": "/" + c.Name, "Created": time.Unix(1780000000, 0).Format(time.RFC3339Nano),
		"State":  map[string]any{"Status": "running", "Pid": 1, "StartedAt": time.Unix(1780000000, 0).Format(time.RFC3339Nano)},
		"Config": map[string]any{"Image": c.Image, "Labels": c.Labels},
	})
}

func (e *engine) events(w http.ResponseWriter, r *http.Request) {
	mine := make(chan engineEvent, 4096)
	e.mu.Lock()
	e.followers[mine] = true
	broken := e.disconnects
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.followers, mine)
	}()
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-broken:
			return
		case ev := <-mine:
			json.NewEncoder(w).Encode(map[string]any{
				"Type": "container", "Action": ev.action, "Actor": map[string]any{"ID": ev.id},
				"timeNano": 1780000000000000000,
			})
			w.(http.Flusher).Flush()
		}
	}
}
