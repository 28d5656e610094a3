package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// The types of the OCI image specification, https://github.com/opencontainers/image-spec.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

type imageConfig struct {
	Created string `json:"created"`
	platform
	Config  runConfig `json:"config"`
	RootFS  rootFS    `json:"rootfs"`
	History []history `json:"history"`
}

type runConfig struct {
	User         string              `json:",omitempty"`
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Env          []string
	Entrypoint   []string
	Cmd          []string `json:",omitempty"`
	Labels       map[string]string
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type history struct {
	Created   string `json:"created"`
	CreatedBy string `json:"created_by"`
}

// image is one for one platform: its manifest, and everything that it names.
type image struct {
	descriptor descriptor // of the manifest
	manifest   manifest
	blobs      map[string][]byte // by digest
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// platformOf has the variant that registries and Engines expect with arm64.
func platformOf(architecture string) (platform, error) {
	switch architecture {
	case "amd64":
		return platform{Architecture: "amd64", OS: "linux"}, nil
	case "arm64":
		return platform{Architecture: "arm64", OS: "linux", Variant: "v8"}, nil
	}
	return platform{}, fmt.Errorf("no images for %s: want amd64 or arm64", architecture)
}

// add keeps data as a blob, and is what names it.
func (im *image) add(mediaType string, data []byte) descriptor {
	d := descriptor{MediaType: mediaType, Digest: digest(data), Size: len(data)}
	im.blobs[d.Digest] = data
	return d
}

func (im *image) addJSON(mediaType string, value any) (descriptor, error) {
	data, err := json.Marshal(value)
	return im.add(mediaType, data), err
}

// makeImage is the image of the recipe's files in the context.
func makeImage(r *recipe, dockerfile, context string, p platform, when time.Time, annotations map[string]string) (*image, error) {
	files, err := r.files(context)
	if err != nil {
		return nil, err
	}
	var layer, packed bytes.Buffer
	if err := writeTar(&layer, when, files); err != nil {
		return nil, err
	}
	zip, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(zip, bytes.NewReader(layer.Bytes())); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}

	im := &image{blobs: map[string][]byte{}}
	created := when.Format(time.RFC3339)
	config := imageConfig{
		Created:  created,
		platform: p,
		Config: runConfig{
			User: r.user, Entrypoint: r.entrypoint, Cmd: r.cmd, Labels: r.labels,
			// What builders put into an image that sets none.
			Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		},
		RootFS:  rootFS{Type: "layers", DiffIDs: []string{digest(layer.Bytes())}},
		History: []history{{Created: created, CreatedBy: dockerfile}},
	}
	for _, port := range r.ports {
		if config.Config.ExposedPorts == nil {
			config.Config.ExposedPorts = map[string]struct{}{}
		}
		config.Config.ExposedPorts[port] = struct{}{}
	}
	im.manifest = manifest{SchemaVersion: 2, MediaType: typeManifest, Annotations: annotations}
	if im.manifest.Config, err = im.addJSON(typeConfig, config); err != nil {
		return nil, err
	}
	im.manifest.Layers = []descriptor{im.add(typeLayer, packed.Bytes())}
	if im.descriptor, err = im.addJSON(typeManifest, im.manifest); err != nil {
		return nil, err
	}
	im.descriptor.Platform = &p
	return im, nil
}

// writeImages writes an archive for each architecture, which docker and podman load,
// and one of all for registries.
func writeImages(dockerfile, name, revision, output string, when time.Time, contexts []string) error {
	repository, tag, tagged := strings.Cut(name, ":")
	if !tagged || repository == "" || tag == "" || revision == "" || len(contexts) == 0 {
		return fmt.Errorf("images: want -name=NAME:TAG, -revision and ARCHITECTURE=CONTEXT\n%s", usage)
	}
	text, err := os.ReadFile(dockerfile)
	if err != nil {
		return err
	}
	r, err := parseDockerfile(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", dockerfile, err)
	}
	annotations := map[string]string{
		"org.opencontainers.image.created":  when.Format(time.RFC3339),
		"org.opencontainers.image.licenses": "Apache-2.0",
		"org.opencontainers.image.revision": revision,
		"org.opencontainers.image.source":   "https://github.com/estiba/estiba",
		"org.opencontainers.image.version":  tag,
	}
	var images []*image
	for _, argument := range contexts {
		architecture, context, _ := strings.Cut(argument, "=")
		p, err := platformOf(architecture)
		if err != nil {
			return err
		}
		im, err := makeImage(r, dockerfile, context, p, when, annotations)
		if err != nil {
			return fmt.Errorf("image for %s: %w", architecture, err)
		}
		images = append(images, im)
		if err := writeLayout(output+".linux-"+architecture+".image.tar", repository, tag, when, im); err != nil {
			return err
		}
	}
	return writeLayout(output+".oci.tar", repository, tag, when, images...)
}
