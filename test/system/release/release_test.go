// Package release tests the files of a release. run.sh makes them.
package release

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var (
	sources  = flag.String("sources", "", "Sources that the release is made of.")
	folder   = flag.String("release", "", "Folder of the release.")
	again    = flag.String("again", "", "Folder of the release made again.")
	version  = flag.String("version", "", "Version of the release.")
	revision = flag.String("revision", "", "Commit that it is made of.")
	epoch    = flag.Int64("epoch", 0, "Time of the commit.")
)

var (
	parts         = []string{"exporter", "manager", "generator"}
	architectures = []string{"amd64", "arm64"}
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *sources == "" || *folder == "" || *again == "" || *version == "" || *revision == "" || *epoch == 0 {
		fmt.Fprintln(os.Stderr, "test/system/release/run.sh makes a release and calls this")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// command runs a command; what it printed is its result, and a failure is the test's.
func command(t *testing.T, argv ...string) string {
	t.Helper()
	var out, errors bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &errors
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(argv, " "), err, out.Bytes(), errors.Bytes())
	}
	return out.String()
}

func read(t *testing.T, elements ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elements...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// list is the names in a folder.
func list(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// The name of an architecture in each format.
var (
	rpmArch  = map[string]string{"amd64": "x86_64", "arm64": "aarch64", "all": "noarch"}
	archArch = map[string]string{"amd64": "x86_64", "arm64": "aarch64", "all": "any"}
)

func tarballName(arch string) string { return fmt.Sprintf("estiba-%s.linux-%s.tar.gz", *version, arch) }

func debName(part, arch string) string {
	return fmt.Sprintf("estiba-%s_%s-1_%s.deb", part, *version, arch)
}

func rpmName(part, arch string) string {
	return fmt.Sprintf("estiba-%s-%s-1.%s.rpm", part, *version, rpmArch[arch])
}

func archName(part, arch string) string {
	return fmt.Sprintf("estiba-%s-%s-1-%s.pkg.tar.zst", part, *version, archArch[arch])
}

func imageName(part, arch string) string {
	return fmt.Sprintf("estiba-%s-%s.linux-%s.image.tar", part, *version, arch)
}
func indexName(part string) string { return fmt.Sprintf("estiba-%s-%s.oci.tar", part, *version) }
func bomName(part, arch string) string {
	return fmt.Sprintf("estiba-%s-%s.linux-%s.cdx.json", part, *version, arch)
}

// packages calls f for each part that is packaged for each architecture.
func packages(f func(part, arch string)) {
	for _, arch := range architectures {
		for _, part := range parts {
			f(part, arch)
		}
	}
	f("dkms", "all")
}

func TestEveryFileIsThere(t *testing.T) {
	want := []string{"release-notes.md", "sha256sums.txt"}
	packages(func(part, arch string) {
		want = append(want, debName(part, arch), rpmName(part, arch), archName(part, arch))
		if arch != "all" {
			want = append(want, imageName(part, arch), bomName(part, arch))
		}
	})
	for _, arch := range architectures {
		want = append(want, tarballName(arch))
	}
	for _, part := range parts {
		want = append(want, indexName(part))
	}
	slices.Sort(want)
	if got := list(t, *folder); !slices.Equal(got, want) {
		t.Errorf("files of the release:\ngot  %q\nwant %q", got, want)
	}
}

func TestTheSameBytesTwice(t *testing.T) {
	names := list(t, *folder)
	if other := list(t, *again); !slices.Equal(names, other) {
		t.Fatalf("two builds of one commit: %q and %q", names, other)
	}
	size := 0
	for _, name := range names {
		one, two := read(t, *folder, name), read(t, *again, name)
		size += len(one)
		if !bytes.Equal(one, two) {
			t.Errorf("%s: two builds of one commit differ", name)
		}
	}
	t.Logf("%d files, %d bytes, the same twice", len(names), size)
}

func TestChecksums(t *testing.T) {
	sums := map[string]string{}
	for line := range strings.Lines(string(read(t, *folder, "sha256sums.txt"))) {
		sum, name, found := strings.Cut(strings.TrimSpace(line), "  ")
		if !found || sums[name] != "" {
			t.Errorf("sha256sums.txt: %q", line)
		}
		sums[name] = sum
	}
	for _, name := range list(t, *folder) {
		if name == "sha256sums.txt" {
			continue
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(read(t, *folder, name))); got != sums[name] {
			t.Errorf("%s: sum %s, sha256sums.txt has %q", name, got, sums[name])
		}
		delete(sums, name)
	}
	if len(sums) > 0 {
		t.Errorf("sha256sums.txt names files that are not there: %v", sums)
	}
}

// TestNotes: they are the changelog's part about this version.
func TestNotes(t *testing.T) {
	notes := strings.TrimSpace(string(read(t, *folder, "release-notes.md")))
	_, part, found := strings.Cut(string(read(t, *sources, "CHANGELOG.md")), "\n## "+*version+" / ")
	_, part, _ = strings.Cut(part, "\n")
	part, _, _ = strings.Cut(part, "\n## ")
	if !found || notes == "" || notes != strings.TrimSpace(part) {
		t.Errorf("release-notes.md is not the changelog's part about %s: %.300s", *version, notes)
	}
}
