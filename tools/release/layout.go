package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"strings"
	"time"
)

// loadable is an image in manifest.json, the list that `docker load` reads: up to
// Docker 24 it knows no other, and it takes one platform at a time.
type loadable struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// blobPath is where a layout keeps a blob.
func blobPath(digest string) string { return "blobs/" + strings.Replace(digest, ":", "/", 1) }

// writeLayout writes an OCI layout as a tar file. With one image, Docker's list is in
// it, too. Several are behind one index, from which each host takes its own.
func writeLayout(file, repository, tag string, when time.Time, images ...*image) error {
	blobs := map[string][]byte{}
	var manifests []descriptor
	for _, im := range images {
		maps.Copy(blobs, im.blobs)
		manifests = append(manifests, im.descriptor)
	}
	top := images[0].descriptor
	if len(images) > 1 {
		list, err := json.Marshal(index{SchemaVersion: 2, MediaType: typeIndex, Manifests: manifests})
		if err != nil {
			return err
		}
		top = descriptor{MediaType: typeIndex, Digest: digest(list), Size: len(list)}
		blobs[top.Digest] = list
	}
	// containerd names the image after the first, all others after the second.
	top.Annotations = map[string]string{
		"io.containerd.image.name":          "docker.io/" + repository + ":" + tag,
		"org.opencontainers.image.ref.name": tag,
	}
	names := map[string]any{
		"oci-layout": map[string]string{"imageLayoutVersion": "1.0.0"},
		"index.json": index{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{top}},
	}
	if len(images) == 1 {
		one := loadable{Config: blobPath(images[0].manifest.Config.Digest), RepoTags: []string{repository + ":" + tag}}
		for _, layer := range images[0].manifest.Layers {
			one.Layers = append(one.Layers, blobPath(layer.Digest))
		}
		names["manifest.json"] = []loadable{one}
	}

	var entries []entry
	for name, value := range names {
		data, err := json.Marshal(value)
		if err != nil {
			return err
		}
		entries = append(entries, entry{name: name, mode: 0o644, data: data})
	}
	for digest, data := range blobs {
		entries = append(entries, entry{name: blobPath(digest), mode: 0o644, data: data})
	}
	var out bytes.Buffer
	if err := writeTar(&out, when, entries); err != nil {
		return err
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}
