package release

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// What the Engine puts into each container, and what it takes for granted.
var engines = regexp.MustCompile(`^(\.dockerenv|dev|proc|sys|etc/(hostname|hosts|mtab|resolv\.conf))(/|$)`)

// inContainer is what is in a container of an image that the Engine has: mode, owner
// and name of each file, and mode and owner of folders that hold no others.
func inContainer(t *testing.T, image string) map[string]string {
	t.Helper()
	id := strings.TrimSpace(command(t, "docker", "create", "--network=none", image))
	defer command(t, "docker", "rm", "-f", id)
	archive := filepath.Join(t.TempDir(), "container.tar")
	command(t, "docker", "export", "-o", archive, id)
	in, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	found := map[string]string{}
	files := readTar(t, image, in)
	for name, f := range files {
		holds := slices.ContainsFunc(slices.Collect(maps.Keys(files)), func(other string) bool { return strings.HasPrefix(other, name+"/") })
		if !engines.MatchString(name) && !holds {
			found[name] = fmt.Sprintf("%o %d:%d", f.header.FileInfo().Mode(), f.header.Uid, f.header.Gid)
		}
	}
	return found
}

// configOf is how the Engine runs an image.
func configOf(t *testing.T, image string) runConfig {
	t.Helper()
	var config runConfig
	if err := json.Unmarshal([]byte(command(t, "docker", "image", "inspect", "-f", "{{json .Config}}", image)), &config); err != nil {
		t.Fatal(err)
	}
	return config
}

// built is the same image, made by the Engine from the part's Dockerfile.
func builtByEngine(t *testing.T, part string) string {
	t.Helper()
	context := t.TempDir()
	for _, sub := range []string{"certs", "state"} {
		if err := os.Mkdir(filepath.Join(context, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, f := range map[string]struct {
		data []byte
		mode os.FileMode
	}{
		"Dockerfile":                {read(t, *sources, part, "packaging", "Dockerfile"), 0o644},
		part:                        {program(t, part, runtime.GOARCH), 0o755},
		"certs/ca-certificates.crt": {[]byte("certificates"), 0o644},
	} {
		if err := os.WriteFile(filepath.Join(context, name), f.data, f.mode); err != nil {
			t.Fatal(err)
		}
	}
	tag := fmt.Sprintf("estiba-release-test/%s:%d", part, os.Getpid())
	command(t, "docker", "build", "-q", "-t", tag, context)
	t.Cleanup(func() { command(t, "docker", "rmi", "-f", tag) })
	return tag
}

// load loads an archive into the Engine, which did not have the image before.
func load(t *testing.T, part, arch string) string {
	t.Helper()
	image := "estiba/" + part + ":" + *version
	if exec.Command("docker", "image", "inspect", image).Run() == nil {
		t.Fatalf("the Engine has an image %s already: remove it, so that it is not this test that does", image)
	}
	said := command(t, "docker", "load", "-i", filepath.Join(*folder, imageName(part, arch)))
	t.Cleanup(func() { command(t, "docker", "rmi", "-f", image) })
	if !strings.Contains(said, image) {
		t.Errorf("%s: docker load says %q", imageName(part, arch), said)
	}
	if got := strings.TrimSpace(command(t, "docker", "image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", image)); got != "linux/"+arch {
		t.Errorf("%s: the Engine has it as %s", imageName(part, arch), got)
	}
	return image
}

// TestDocker: each archive loads into the Engine, is what the Dockerfile makes, and runs.
func TestDocker(t *testing.T) {
	for _, part := range parts {
		for _, arch := range architectures {
			t.Run(part+"-"+arch, func(t *testing.T) {
				image := load(t, part, arch)
				reference := builtByEngine(t, part)
				if got, want := configOf(t, image), configOf(t, reference); !reflect.DeepEqual(got, want) {
					t.Errorf("%s: got  %+v\nwant %+v, as the Dockerfile has it", image, got, want)
				}
				if got, want := inContainer(t, image), inContainer(t, reference); !maps.Equal(got, want) {
					t.Errorf("%s: got  %v\nwant %v, as the Dockerfile has it", image, got, want)
				}
				if arch != runtime.GOARCH {
					return
				}
				argv := []string{"docker", "run", "--rm", "--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"}
				// The exporter's own user is root, with few rights.
				if part == "exporter" {
					argv = append(argv, "--user=65534:65534")
				} else if user := configOf(t, image).User; !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(user) {
					t.Errorf("%s: runs as user %q", image, user)
				}
				if said := command(t, append(argv, image, "--version")...); !strings.Contains(said, ", version "+*version+" ") {
					t.Errorf("%s: --version says %s", image, said)
				}
			})
		}
	}
}

// TestPodman: it loads the archives of one architecture, and finds each host's own in
// those of both.
func TestPodman(t *testing.T) {
	storage := t.TempDir()
	podman := func(arguments ...string) string {
		return command(t, append([]string{"podman", "--root=" + storage + "/root", "--runroot=" + storage + "/run", "--storage-driver=vfs"}, arguments...)...)
	}
	// Its lock files are not for the test's folder to remove while they are in use.
	t.Cleanup(func() { podman("rmi", "--all", "--force") })
	for _, part := range parts {
		for _, arch := range architectures {
			podman("load", "-q", "-i", filepath.Join(*folder, imageName(part, arch)))
			if got := strings.TrimSpace(podman("image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", "estiba/"+part+":"+*version)); got != "linux/"+arch {
				t.Errorf("%s: podman has it as %s", imageName(part, arch), got)
			}
			id := strings.TrimSpace(podman("pull", "-q", "--arch="+arch, "oci-archive:"+filepath.Join(*folder, indexName(part))))
			if got := strings.TrimSpace(podman("image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", id)); got != "linux/"+arch {
				t.Errorf("%s: podman takes %s for %s", indexName(part), got, arch)
			}
		}
	}
}
