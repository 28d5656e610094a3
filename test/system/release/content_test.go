package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// file is one in a tarball, a package or an image.
type file struct {
	header *tar.Header
	data   []byte
}

func readTar(t *testing.T, name string, in io.Reader) map[string]file {
	t.Helper()
	files := map[string]file{}
	for reader := tar.NewReader(in); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		data, err := io.ReadAll(reader)
		if err != nil {
			t.Fatalf("%s: %s: %v", name, header.Name, err)
		}
		short := strings.TrimPrefix(path.Clean("/"+header.Name), "/")
		if _, twice := files[short]; twice {
			t.Errorf("%s: %s is in it twice", name, short)
		}
		files[short] = file{header, data}
	}
}

func unzip(t *testing.T, name string, data []byte) []byte {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	plain, err := io.ReadAll(zip)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return plain
}

// contents is what is in an artefact, read by the tools of its format.
func contents(t *testing.T, name string) map[string]file {
	t.Helper()
	from := filepath.Join(*folder, name)
	var argv []string
	switch {
	case strings.HasSuffix(name, ".tar.gz"):
		return readTar(t, name, bytes.NewReader(unzip(t, name, read(t, from))))
	case strings.HasSuffix(name, ".deb"):
		argv = []string{"dpkg-deb", "--fsys-tarfile", from}
	case strings.HasSuffix(name, ".rpm"):
		argv = []string{"bsdtar", "--format=pax", "-cf", "-", "@" + from}
	case strings.HasSuffix(name, ".zst"):
		argv = []string{"zstd", "-dcq", from}
	default:
		t.Fatalf("%s: of no known format", name)
	}
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(argv, " "), err)
	}
	return readTar(t, name, bytes.NewReader(out))
}

// everything calls f for each artefact with files in it.
func everything(t *testing.T, f func(name string, files map[string]file)) {
	for _, arch := range architectures {
		f(tarballName(arch), contents(t, tarballName(arch)))
	}
	packages(func(part, arch string) {
		for _, name := range []string{debName(part, arch), rpmName(part, arch), archName(part, arch)} {
			f(name, contents(t, name))
		}
		if arch != "all" {
			f(imageName(part, arch), loadLayout(t, imageName(part, arch)).images[arch].files)
		}
	})
}

var (
	secretName = regexp.MustCompile(`(?i)(^|/)(\.git|\.env|\.netrc|\.npmrc|\.docker|\.ssh|id_[a-z0-9]+|[^/]*(secret|password|credential|token)[^/]*|` +
		`[^/]*\.(key|p12|pfx|jks|kdbx|asc|gpg))(/|$)`)
	secretText = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----\s+[A-Za-z0-9+/]{40}|` +
		`ghp_[A-Za-z0-9]{36}|AKIA[0-9A-Z]{16}|xox[bp]-[0-9]{8,}`)
	// One of these is in each, and found much faster.
	secretMark = []string{"PRIVATE KEY", "ghp_", "AKIA", "xoxb-", "xoxp-"}
)

// secretIn is the beginning of what looks like a secret in data.
func secretIn(data []byte) string {
	for _, mark := range secretMark {
		for from := 0; ; {
			at := bytes.Index(data[from:], []byte(mark))
			if at < 0 {
				break
			}
			at += from
			around := data[max(0, at-40):min(len(data), at+160)]
			if secret := secretText.Find(around); secret != nil {
				return string(secret[:min(len(secret), 30)])
			}
			from = at + len(mark)
		}
	}
	return ""
}

func TestSecretsAreFound(t *testing.T) {
	key := "text -----BEGIN " + "PRIVATE KEY-----\n" + strings.Repeat("A", 64)
	for text, want := range map[string]bool{
		key: true, "ghp" + "_" + strings.Repeat("a", 36): true, "-----BEGIN PRIVATE KEY-----\x00%s": false, "nothing": false,
	} {
		if got := secretIn([]byte(text)) != ""; got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// TestNothingSecretNorWritable: no artefact has a file that looks like a secret, nor
// one that others may write, nor one that lends its owner's rights, nor a device or
// link.
func TestNothingSecretNorWritable(t *testing.T) {
	seen, searched := 0, map[[sha256.Size]byte]bool{} // a program is in five artefacts
	everything(t, func(name string, files map[string]file) {
		if len(files) == 0 {
			t.Errorf("%s: empty", name)
		}
		for in, f := range files {
			seen++
			if f.header.Mode&0o7022 != 0 {
				t.Errorf("%s: %s: mode %o", name, in, f.header.Mode)
			}
			if f.header.Typeflag != tar.TypeReg && f.header.Typeflag != tar.TypeDir {
				t.Errorf("%s: %s: neither a file nor a folder: %c", name, in, f.header.Typeflag)
			}
			if secretName.MatchString(in) {
				t.Errorf("%s: %s: looks like a secret", name, in)
			}
			if sum := sha256.Sum256(f.data); !searched[sum] {
				searched[sum] = true
				if secret := secretIn(f.data); secret != "" {
					t.Errorf("%s: %s: contains %q", name, in, secret)
				}
			}
			// A folder that a program writes to is its user's.
			if state := in == "var/lib/estiba/manager" && strings.HasSuffix(name, ".image.tar"); !state && f.header.Uid+f.header.Gid != 0 {
				t.Errorf("%s: %s: of user %d and group %d, want root", name, in, f.header.Uid, f.header.Gid)
			}
		}
	})
	t.Logf("%d files and folders", seen)
}

// TestTarballs: what a person expects in them, as it is in the sources.
func TestTarballs(t *testing.T) {
	folders := map[string]string{
		"policies": "manager/policies/*.yml", "prometheus": "prometheus/*.yml", "prometheus/rules": "prometheus/rules/*.yml",
		"prometheus/examples": "prometheus/examples/*.yml", "grafana/dashboards": "grafana/dashboards/*.json",
		"grafana/import": "grafana/import/*.json", "systemd": "*/packaging/*.service", "docs/runbooks": "docs/runbooks/*.md",
		"kmod": "kmod/*.[ch]", ".": "LICENSE",
	}
	for _, arch := range architectures {
		top := strings.TrimSuffix(tarballName(arch), ".tar.gz")
		files := contents(t, tarballName(arch))
		for in, f := range files {
			if in != top && !strings.HasPrefix(in, top+"/") {
				t.Errorf("%s: %s is outside of %s", tarballName(arch), in, top)
			}
			if f.header.ModTime.Unix() != *epoch {
				t.Errorf("%s: %s: time %s, want the commit's", tarballName(arch), in, f.header.ModTime)
			}
		}
		for to, pattern := range folders {
			matches, err := filepath.Glob(filepath.Join(*sources, pattern))
			if err != nil || len(matches) == 0 {
				t.Fatalf("%s: %v, %v", pattern, matches, err)
			}
			for _, match := range matches {
				in := path.Join(top, to, filepath.Base(match))
				if !bytes.Equal(files[in].data, read(t, match)) {
					t.Errorf("%s: %s is not there, or not %s", tarballName(arch), in, match)
				}
			}
		}
		want := []string{"README.md", "CHANGELOG.md", "THIRD_PARTY_LICENSES", "systemd/estiba-generator.timer", "kmod/Kbuild", "kmod/Makefile", "kmod/COPYING"}
		for _, part := range parts {
			want = append(want, "estiba-"+part, "man/estiba-"+part+".1.gz", "default/estiba-"+part, "sysusers.d/estiba-"+part+".conf",
				"completions/bash/estiba-"+part, "completions/zsh/_estiba-"+part, "completions/fish/estiba-"+part+".fish")
		}
		for _, in := range want {
			if len(files[path.Join(top, in)].data) == 0 {
				t.Errorf("%s: %s is not there, or empty", tarballName(arch), in)
			}
		}
		for in, f := range files {
			if executable := f.header.Mode == 0o755; f.header.Typeflag == tar.TypeReg && executable != (path.Dir(in) == top && strings.HasPrefix(path.Base(in), "estiba-")) {
				t.Errorf("%s: %s: mode %o", tarballName(arch), in, f.header.Mode)
			}
		}
		readme := string(files[path.Join(top, "README.md")].data)
		if !strings.Contains(readme, "# Estiba "+*version+" for linux/"+arch+"\n") || strings.Contains(readme, "@") {
			t.Errorf("%s: README.md: %s", tarballName(arch), readme)
		}
	}
}
