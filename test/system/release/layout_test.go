package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// layout is an archive of images, read by its specification.
type layout struct {
	digests map[string]string // of the manifest, by architecture
	images  map[string]layoutImage
	docker  bool // has Docker's own list, too
}

type layoutImage struct {
	config imageConfig
	files  map[string]file
}

type descriptor struct {
	MediaType, Digest string
	Size              int
	Platform          struct{ Architecture, OS, Variant string }
	Annotations       map[string]string
}

type imageConfig struct {
	Architecture, OS, Variant string
	Config                    runConfig
	RootFS                    struct {
		DiffIDs []string `json:"diff_ids"`
	}
}

type runConfig struct {
	User         string
	ExposedPorts map[string]struct{}
	Env          []string
	Entrypoint   []string
	Cmd          []string
	Labels       map[string]string
	WorkingDir   string
}

// loadLayout follows an archive from its index, and checks every digest and size.
func loadLayout(t *testing.T, name string) layout {
	t.Helper()
	blobs := readTar(t, name, bytes.NewReader(read(t, *folder, name)))
	used := map[string]bool{}
	blob := func(d descriptor) []byte {
		in := "blobs/" + strings.Replace(d.Digest, ":", "/", 1)
		data := blobs[in].data
		if got := fmt.Sprintf("sha256:%x", sha256.Sum256(data)); got != d.Digest || len(data) != d.Size {
			t.Fatalf("%s: %s has %d bytes and the sum %s, want %d", name, in, len(data), got, d.Size)
		}
		used[in] = true
		return data
	}
	decode := func(data []byte, into any) {
		if err := json.Unmarshal(data, into); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if got := string(blobs["oci-layout"].data); got != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("%s: oci-layout: %s", name, got)
	}
	l := layout{digests: map[string]string{}, images: map[string]layoutImage{}}
	var index struct{ Manifests []descriptor }
	decode(blobs["index.json"].data, &index)
	if len(index.Manifests) != 1 || index.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != *version {
		t.Fatalf("%s: index.json: %+v", name, index)
	}
	if top := index.Manifests[0]; strings.Contains(top.MediaType, "image.index") {
		index.Manifests = nil
		decode(blob(top), &index)
	}
	for _, d := range index.Manifests {
		var manifest struct {
			Config      descriptor
			Layers      []descriptor
			Annotations map[string]string
		}
		decode(blob(d), &manifest)
		if a := manifest.Annotations; a["org.opencontainers.image.version"] != *version || a["org.opencontainers.image.revision"] != *revision {
			t.Errorf("%s: annotations: %v", name, a)
		}
		var im layoutImage
		decode(blob(manifest.Config), &im.config)
		if p := d.Platform; p.Architecture != im.config.Architecture || p.OS != im.config.OS || p.Variant != im.config.Variant {
			t.Errorf("%s: platform %v, but the image is for %+v", name, p, im.config)
		}
		if len(manifest.Layers) != 1 || len(im.config.RootFS.DiffIDs) != 1 {
			t.Fatalf("%s: %d layers and %d sums of layers, want one", name, len(manifest.Layers), len(im.config.RootFS.DiffIDs))
		}
		plain := unzip(t, name, blob(manifest.Layers[0]))
		if got := fmt.Sprintf("sha256:%x", sha256.Sum256(plain)); got != im.config.RootFS.DiffIDs[0] {
			t.Errorf("%s: layer %s, the image says %s", name, got, im.config.RootFS.DiffIDs[0])
		}
		im.files = readTar(t, name, bytes.NewReader(plain))
		l.images[im.config.Architecture], l.digests[im.config.Architecture] = im, d.Digest
	}
	_, l.docker = blobs["manifest.json"]
	for in, f := range blobs {
		if strings.HasPrefix(in, "blobs/sha256/") && !used[in] {
			t.Errorf("%s: %s belongs to no image", name, in)
		}
		if f.header.ModTime.Unix() != *epoch {
			t.Errorf("%s: %s: time %s, want the commit's", name, in, f.header.ModTime)
		}
	}
	return l
}

// TestIndexes: the archive for registries has the images of both architectures, the
// same as those that are loaded.
func TestIndexes(t *testing.T) {
	for _, part := range parts {
		all := loadLayout(t, indexName(part))
		if len(all.digests) != len(architectures) || all.docker {
			t.Errorf("%s: images %v", indexName(part), all.digests)
		}
		for _, arch := range architectures {
			one := loadLayout(t, imageName(part, arch))
			if len(one.digests) != 1 || one.digests[arch] != all.digests[arch] || !one.docker {
				t.Errorf("%s: images %v, %s has %v", imageName(part, arch), one.digests, indexName(part), all.digests)
			}
		}
	}
}
