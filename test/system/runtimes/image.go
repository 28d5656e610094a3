package runtimes

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// Image is an image of one file.
type Image struct {
	Ref        string
	Path       string // of the file in the image
	Program    string // its content is that of this file
	Entrypoint []string
}

// writeImages writes layer.tar, with the program of the containers, and images.tar, an
// archive as `docker save` writes it, with the images of the containers and more.
func (h *Host) writeImages(t *testing.T, more ...Image) {
	t.Helper()
	const path = "/program"
	images := append([]Image{
		{Ref: loadImage, Path: path, Program: h.Program, Entrypoint: []string{path}},
		{Ref: pauseImage, Path: path, Program: h.Program, Entrypoint: append([]string{path}, Load{}.args()...)},
	}, more...)
	layers := map[string]string{} // by program
	var files []file
	var manifest []object
	for _, image := range images {
		layer := layers[image.Program]
		if layer == "" {
			program, err := os.ReadFile(image.Program)
			if err != nil {
				t.Fatal(err)
			}
			layer = "layer.tar"
			if len(layers) > 0 {
				layer = fmt.Sprintf("layer%d.tar", len(layers))
			}
			layers[image.Program] = layer
			h.write(t, layer, string(archive(t, file{strings.TrimPrefix(image.Path, "/"), 0o755, program})))
		}
		content, err := os.ReadFile(h.in(layer))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(files, func(f file) bool { return f.name == layer }) {
			files = append(files, file{layer, 0o644, content})
		}
		text := encode(t, object{
			"architecture": runtime.GOARCH, "os": "linux", "config": object{"Entrypoint": image.Entrypoint}, "history": []object{{"created_by": "test"}},
			"rootfs": object{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(content))}},
		})
		name := fmt.Sprintf("%x.json", sha256.Sum256(text))
		files = append(files, file{name, 0o644, text})
		manifest = append(manifest, object{"Config": name, "RepoTags": []string{image.Ref}, "Layers": []string{layer}})
	}
	files = append(files, file{"manifest.json", 0o644, encode(t, manifest)})
	h.write(t, "images.tar", string(archive(t, files...)))
}

type file struct {
	name    string
	mode    int64
	content []byte
}

func archive(t *testing.T, files ...file) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
