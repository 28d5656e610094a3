package image_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/generator/image"
	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
)

func TestImageIsRebuiltOnlyWhenTheProgramDiffers(t *testing.T) {
	testutil.Require(t, testutil.Docker)
	program := testutil.Build(t, "./generator")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c, err := dockerclient.New("")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ref := fmt.Sprintf("%s:test-image-%d", image.Default, os.Getpid())
	t.Cleanup(func() { c.RemoveImage(context.Background(), ref) })

	build := func(path string, want bool) dockerclient.Image {
		t.Helper()
		made, err := image.Build(ctx, c, ref, path)
		if err != nil || made != want {
			t.Fatalf("Build = %v, %v; want %v", made, err, want)
		}
		i, err := c.Image(ctx, ref)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	first := build(program, true)
	if again := build(program, false); again.ID != first.ID {
		t.Errorf("different image for the same program")
	}
	// Containers inherit these labels, so none may look misspelt.
	if l := container.ParseLabels(first.Labels); len(first.Labels) != 1 || l.Errors != nil {
		t.Errorf("labels %v, errors %v", first.Labels, l.Errors)
	}

	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	changed := filepath.Join(t.TempDir(), "changed")
	if err := os.WriteFile(changed, append(data, 'x'), 0o755); err != nil {
		t.Fatal(err)
	}
	if second := build(changed, true); second.ID == first.ID {
		t.Error("same image for a different program")
	}
	if _, err := c.Image(ctx, first.ID); !dockerclient.IsNotFound(err) {
		t.Errorf("previous image not removed: %v", err)
	}
}

// emptyEngine has no images and cannot reach a registry.
type emptyEngine struct{ image.Engine }

type notFound struct{ error }

func (notFound) NotFound() {}

func (emptyEngine) Image(context.Context, string) (dockerclient.Image, error) {
	return dockerclient.Image{}, fmt.Errorf("no image: %w", notFound{errors.New("no such image")})
}

func (emptyEngine) PullImage(context.Context, string) error {
	return errors.New("dial tcp: lookup registry: no such host")
}

func TestDynamicProgram(t *testing.T) {
	_, err := image.Build(context.Background(), emptyEngine{}, "estiba/stress", "/bin/sh")
	if !errors.Is(err, image.ErrDynamic) {
		t.Errorf("Build = %v, want ErrDynamic", err)
	}
	_, err = image.Build(context.Background(), emptyEngine{}, "estiba/stress", "image_test.go")
	if err == nil || errors.Is(err, image.ErrDynamic) {
		t.Errorf("Build of a text file = %v, want another error", err)
	}
}

func TestPullWithoutRegistry(t *testing.T) {
	_, err := image.Pull(context.Background(), emptyEngine{}, "containerstack/alpine-stress")
	if err == nil {
		t.Fatal("Pull succeeded")
	}
	for _, want := range []string{"containerstack/alpine-stress", "docker load", image.Default, "no such host"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}
