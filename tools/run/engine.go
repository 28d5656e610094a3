package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// engine is a Docker Engine, by its socket. It speaks the Engine's HTTP API, since the
// command docker is a package of its own on some distributions.
type engine struct {
	socket string
	client *http.Client
}

func newEngine(socket string) *engine {
	return &engine{socket: socket, client: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
}

// engineError is an answer that is not a success.
type engineError struct {
	status  int
	message string
}

func (e *engineError) Error() string { return e.message }

func notFound(err error) bool {
	var e *engineError
	return errors.As(err, &e) && e.status == http.StatusNotFound
}

// do sends a request and returns the body of the answer, to be closed.
func (e *engine) do(ctx context.Context, method, path string, in any) (io.ReadCloser, error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := e.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 400 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	failure := &engineError{status: resp.StatusCode, message: resp.Status}
	var answer struct{ Message string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err == nil && answer.Message != "" {
		failure.message = answer.Message
	}
	return nil, failure
}

// call sends a request and decodes the answer into out, if there is one.
func (e *engine) call(ctx context.Context, method, path string, in, out any) error {
	body, err := e.do(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, body)
		return err
	}
	return json.NewDecoder(body).Decode(out)
}

func (e *engine) ping(ctx context.Context) error {
	return e.call(ctx, http.MethodGet, "/_ping", nil, nil)
}

func (e *engine) hasImage(ctx context.Context, image string) (bool, error) {
	err := e.call(ctx, http.MethodGet, "/images/"+image+"/json", nil, nil)
	if notFound(err) {
		return false, nil
	}
	return err == nil, err
}

// pull returns when the image is here.
func (e *engine) pull(ctx context.Context, image string) error {
	name, tag := image, "latest"
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		name, tag = image[:i], image[i+1:]
	}
	body, err := e.do(ctx, http.MethodPost, "/images/create?"+url.Values{"fromImage": {name}, "tag": {tag}}.Encode(), nil)
	if err != nil {
		return err
	}
	defer body.Close()
	// The status is 200 before the first layer comes: a failure is in the stream.
	for decoder := json.NewDecoder(body); ; {
		var progress struct{ Error string }
		switch err := decoder.Decode(&progress); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case progress.Error != "":
			return errors.New(progress.Error)
		}
	}
}

// container is what is asked for at POST /containers/create.
type container struct {
	Image      string
	User       string            `json:",omitempty"`
	Env        []string          `json:",omitempty"`
	Labels     map[string]string `json:",omitempty"`
	HostConfig hostConfig
}

type hostConfig struct {
	Binds          []string          `json:",omitempty"`
	CapDrop        []string          `json:",omitempty"`
	Memory         int64             `json:",omitempty"` // bytes
	NetworkMode    string            `json:",omitempty"`
	PidsLimit      int64             `json:",omitempty"`
	ReadonlyRootfs bool              `json:",omitempty"`
	SecurityOpt    []string          `json:",omitempty"`
	Tmpfs          map[string]string `json:",omitempty"`
	UsernsMode     string            `json:",omitempty"`
}

// start creates a container and starts it.
func (e *engine) start(ctx context.Context, name string, c container) error {
	if err := e.call(ctx, http.MethodPost, "/containers/create?name="+name, c, nil); err != nil {
		return err
	}
	return e.call(ctx, http.MethodPost, "/containers/"+name+"/start", nil, nil)
}

// exited reports whether a container has ended, and its exit code.
func (e *engine) exited(ctx context.Context, name string) (ended bool, code int, err error) {
	var c struct {
		State struct {
			Running  bool
			ExitCode int
		}
	}
	if err := e.call(ctx, http.MethodGet, "/containers/"+name+"/json", nil, &c); err != nil {
		return false, 0, err
	}
	return !c.State.Running, c.State.ExitCode, nil
}

// logs copies what a container has written.
func (e *engine) logs(ctx context.Context, name string, to io.Writer) error {
	body, err := e.do(ctx, http.MethodGet, "/containers/"+name+"/logs?stdout=1&stderr=1&timestamps=1", nil)
	if err != nil {
		return err
	}
	defer body.Close()
	// Frames: one byte for the stream, three of padding, four for the length.
	for {
		var header [8]byte
		if _, err := io.ReadFull(body, header[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if _, err := io.CopyN(to, body, int64(binary.BigEndian.Uint32(header[4:]))); err != nil {
			return err
		}
	}
}

// remove stops a container, which gets seconds for that, and removes it. One that is not
// there is removed already.
func (e *engine) remove(ctx context.Context, name string, seconds int) error {
	err := e.call(ctx, http.MethodPost, fmt.Sprintf("/containers/%s/stop?t=%d", name, seconds), nil, nil)
	if err == nil || !notFound(err) {
		err = e.call(ctx, http.MethodDelete, "/containers/"+name+"?force=1&v=1", nil, nil)
	}
	if notFound(err) {
		return nil
	}
	return err
}
