package release

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// program is the bytes of a program in the tarball.
func program(t *testing.T, part, arch string) []byte {
	t.Helper()
	top := strings.TrimSuffix(tarballName(arch), ".tar.gz")
	data := contents(t, tarballName(arch))[top+"/estiba-"+part].data
	if len(data) == 0 {
		t.Fatalf("%s: no estiba-%s", tarballName(arch), part)
	}
	return data
}

// TestPrograms: each is static and for its architecture, runs and says its version, and
// is the same in every artefact.
func TestPrograms(t *testing.T) {
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	for _, arch := range architectures {
		for _, part := range parts {
			t.Run(part+"-"+arch, func(t *testing.T) {
				data := program(t, part, arch)
				static(t, data, machines[arch])
				built(t, data, arch)
				says(t, data, part, arch)
				for name, in := range map[string]string{
					debName(part, arch): "usr/bin/estiba-" + part, rpmName(part, arch): "usr/bin/estiba-" + part,
					archName(part, arch): "usr/bin/estiba-" + part,
				} {
					if !bytes.Equal(contents(t, name)[in].data, data) {
						t.Errorf("%s: %s is not the program of the tarball", name, in)
					}
				}
				if files := loadLayout(t, imageName(part, arch)).images[arch].files; !bytes.Equal(files[part].data, data) {
					t.Errorf("%s: /%s is not the program of the tarball", imageName(part, arch), part)
				}
			})
		}
	}
}

func static(t *testing.T, data []byte, machine elf.Machine) {
	t.Helper()
	file, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if file.Machine != machine || file.Type != elf.ET_EXEC {
		t.Errorf("machine %v, type %v; want %v and an executable", file.Machine, file.Type, machine)
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("not static: it has %v", p.Type)
		}
	}
	if file.Section(".symtab") != nil || file.Section(".debug_info") != nil {
		t.Error("it has symbols for a debugger")
	}
}

func built(t *testing.T, data []byte, arch string) {
	t.Helper()
	info, err := buildinfo.Read(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	for key, want := range map[string]string{"CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": arch, "-trimpath": "true"} {
		if settings[key] != want {
			t.Errorf("built with %s=%s, want %s", key, settings[key], want)
		}
	}
	if bytes.Contains(data, []byte(*sources)) {
		t.Error("it contains the folder it was built in")
	}
}

// says runs it; a program for another architecture needs no kernel that knows it.
func says(t *testing.T, data []byte, part, arch string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "estiba-"+part)
	if err := os.WriteFile(file, data, 0o755); err != nil {
		t.Fatal(err)
	}
	argv := []string{file, "--version"}
	if arch != runtime.GOARCH {
		emulator := map[string]string{"amd64": "qemu-x86_64-static", "arm64": "qemu-aarch64-static"}[arch]
		argv = append([]string{emulator}, argv...)
	}
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	for _, want := range []string{", version " + *version + " ", "revision: " + *revision, "linux/" + arch} {
		if !strings.Contains(string(out), want) {
			t.Errorf("--version does not say %q: %s", want, out)
		}
	}
}
