// Package image builds the image of the stress containers from the running program, so
// that no registry is needed.
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

// Default is the image that Build makes; any other one is pulled.
const Default = "estiba/stress"

// DataDir is the writable directory of the image, owned by its user. It is the mount
// point of an anonymous volume, which inherits the owner.
const DataDir = "/data"

// labelContent is the label with the hash of the image's content. It is not in the
// namespace "estiba.", because containers inherit image labels and unknown keys there
// are reported as misspelt.
const labelContent = "io.github.estiba.stress.content"

// user is the uid of the loads: nobody.
const user = 65534

// Engine is the part of a Docker Engine that Build and Pull use.
type Engine interface {
	Image(ctx context.Context, ref string) (dockerclient.Image, error)
	ImportImage(ctx context.Context, tar io.Reader, ref string, changes []string) error
	PullImage(ctx context.Context, ref string) error
	RemoveImage(ctx context.Context, ref string) error
}

// Build ensures that ref is an image of the static program at path, and reports whether
// it had to be built. It replaces an older image of that name; running containers are
// not affected.
func Build(ctx context.Context, e Engine, ref, path string) (built bool, err error) {
	old, err := e.Image(ctx, ref)
	exists := err == nil
	if err != nil && !dockerclient.IsNotFound(err) {
		return false, err
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("image %s: reading the program: %w", ref, err)
	}
	layer, err := layerOf(program)
	if err != nil {
		return false, fmt.Errorf("image %s: creating the layer: %w", ref, err)
	}
	content := contentOf(layer)
	if exists && old.Labels[labelContent] == content {
		return false, nil
	}
	if err := checkStatic(program); err != nil {
		return false, fmt.Errorf("image %s: %w", ref, err)
	}
	if err := e.ImportImage(ctx, bytes.NewReader(layer), ref, append(config(), "LABEL "+labelContent+"="+content)); err != nil {
		return false, err
	}
	if exists && old.Labels[labelContent] != "" {
		// Our previous image, now untagged. The Engine refuses while a container
		// uses it: then it stays until `docker image prune`.
		_ = e.RemoveImage(ctx, old.ID)
	}
	return true, nil
}

// Pull ensures that the image ref exists, and reports whether it had to be pulled.
func Pull(ctx context.Context, e Engine, ref string) (pulled bool, err error) {
	if _, err := e.Image(ctx, ref); err == nil {
		return false, nil
	} else if !dockerclient.IsNotFound(err) {
		return false, err
	}
	if err := e.PullImage(ctx, ref); err != nil {
		return false, fmt.Errorf("image %s not available (load it with `docker load`, or use --image=%s, which needs no registry): %w", ref, Default, err)
	}
	return true, nil
}

// config returns the image's configuration as Dockerfile lines.
func config() []string {
	return []string{
		`ENTRYPOINT ["/stress", "load"]`,
		fmt.Sprintf("USER %d:%d", user, user),
		"WORKDIR " + DataDir,
	}
}

// contentOf returns the hash of layer and configuration.
func contentOf(layer []byte) string {
	h := sha256.New()
	h.Write(layer)
	for _, line := range config() {
		fmt.Fprintln(h, line)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// layerOf returns a tar of the program and the data directory; it is reproducible.
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
