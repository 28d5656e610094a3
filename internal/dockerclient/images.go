package dockerclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/docker/docker/api/types/image"
)

// Image describes an image.
type Image struct {
	ID     string // "sha256:…"
	Labels map[string]string
}

// Image looks up an image by reference or id. IsNotFound: it does not exist.
func (c *Client) Image(ctx context.Context, ref string) (Image, error) {
	r, err := c.api.ImageInspect(ctx, ref)
	if err != nil {
		return Image{}, fmt.Errorf("inspecting image %s: %w", ref, err)
	}
	i := Image{ID: r.ID}
	if r.Config != nil {
		i.Labels = r.Config.Labels
	}
	return i, nil
}

// ImportImage creates the image ref (with tag) with one layer from a tar stream. changes
// are Dockerfile lines such as `ENTRYPOINT ["/stress"]`.
func (c *Client) ImportImage(ctx context.Context, tar io.Reader, ref string, changes []string) error {
	body, err := c.api.ImageImport(ctx, image.ImportSource{Source: tar, SourceName: "-"}, ref, image.ImportOptions{Changes: changes})
	if err != nil {
		return fmt.Errorf("importing image %s: %w", ref, err)
	}
	defer body.Close()
	if err := readProgress(body); err != nil {
		return fmt.Errorf("importing image %s: %w", ref, err)
	}
	return nil
}

// PullImage pulls the image ref from its registry.
func (c *Client) PullImage(ctx context.Context, ref string) error {
	body, err := c.api.ImagePull(ctx, ref, image.PullOptions{})
	if err != nil {
		return fmt.Errorf("pulling image %s: %w", ref, err)
	}
	defer body.Close()
	if err := readProgress(body); err != nil {
		return fmt.Errorf("pulling image %s: %w", ref, err)
	}
	return nil
}

// RemoveImage removes an image. IsNotFound: it does not exist.
func (c *Client) RemoveImage(ctx context.Context, ref string) error {
	if _, err := c.api.ImageRemove(ctx, ref, image.RemoveOptions{Force: true}); err != nil {
		return fmt.Errorf("removing image %s: %w", ref, err)
	}
	return nil
}

// readProgress reads the Engine's stream of JSON messages to its end. Errors after the
// status code 200 are messages with the key "error".
func readProgress(body io.Reader) error {
	dec := json.NewDecoder(body)
	for {
		var m struct {
			Error string `json:"error"`
		}
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading the response: %w", err)
		}
		if m.Error != "" {
			return errors.New(m.Error)
		}
	}
}
