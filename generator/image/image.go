// Package image makes the image of the stress containers out of the program
// that is running, so that no registry is needed.
package image

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"github.com/estiba/estiba/internal/dockerclient"
)

// Default is the image that is made here; every other one is pulled.
const Default = "estiba/stress"

// DataDir is the writable folder in the image, owned by its user: the mount
// point of an anonymous volume, which takes the owner over.
const DataDir = "/data"

// labelContent holds the hash of what an image was made of. It is not in the
// namespace "estiba.": containers inherit their image's labels, and an unknown
// key there is reported as a spelling mistake.
const labelContent = "io.github.estiba.stress.content"

// user runs the loads: nobody, with no rights anywhere.
const user = 65534

// Engine is what Ensure needs of a Docker Engine.
type Engine interface {
	Image(ctx context.Context, ref string) (dockerclient.Image, error)
	ImportImage(ctx context.Context, tar io.Reader, ref string, changes []string) error
	PullImage(ctx context.Context, ref string) error
	RemoveImage(ctx context.Context, ref string) error
}

// Build makes sure that ref is an image made of the static program at path,
// and tells whether it had to be made. An older one under that name is
// replaced; containers that run from it are not disturbed.
func Build(ctx context.Context, e Engine, ref, path string) (made bool, err error) {
	old, err := e.Image(ctx, ref)
	exists := err == nil
	if err != nil && !dockerclient.IsNotFound(err) {
		return false, err
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("reading the program for the image %s: %w", ref, err)
	}
	layer, err := layerOf(program)
	if err != nil {
		return false, fmt.Errorf("packing the image %s: %w", ref, err)
	}
	content := contentOf(layer)
	if exists && old.Labels[labelContent] == content {
		return false, nil
	}
	if err := checkStatic(program); err != nil {
		return false, fmt.Errorf("making the image %s: %w", ref, err)
	}
	if err := e.ImportImage(ctx, bytes.NewReader(layer), ref, append(config(), "LABEL "+labelContent+"="+content)); err != nil {
		return false, err
	}
	if exists && old.Labels[labelContent] != "" {
		// Ours and nameless now. Refused while a container runs from it: then
		// it stays until the next `docker image prune`.
		_ = e.RemoveImage(ctx, old.ID)
	}
	return true, nil
}

// Pull makes sure that ref is there, and tells whether it had to be fetched.
func Pull(ctx context.Context, e Engine, ref string) (pulled bool, err error) {
	if _, err := e.Image(ctx, ref); err == nil {
		return false, nil
	} else if !dockerclient.IsNotFound(err) {
		return false, err
	}
	if err := e.PullImage(ctx, ref); err != nil {
		return false, fmt.Errorf("the image %s is not on this host and no registry gave it (load it with `docker load`, or use --image=%s, which needs none): %w", ref, Default, err)
	}
	return true, nil
}

// config is the image's configuration as Dockerfile lines.
func config() []string {
	return []string{
		`ENTRYPOINT ["/stress", "load"]`,
		fmt.Sprintf("USER %d:%d", user, user),
		"WORKDIR " + DataDir,
	}
}

// contentOf hashes everything that makes the image what it is.
func contentOf(layer []byte) string {
	h := sha256.New()
	h.Write(layer)
	for _, line := range config() {
		fmt.Fprintln(h, line)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// layerOf packs the program and the data folder; the same program gives the
// same bytes.
func layerOf(program []byte) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range []*tar.Header{
		{Name: DataDir[1:] + "/", Typeflag: tar.TypeDir, Mode: 0o700, Uid: user, Gid: user},
		{Name: "stress", Mode: 0o755, Size: int64(len(program))},
	} {
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
