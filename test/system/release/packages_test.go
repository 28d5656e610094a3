package release

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// filesOnly is what all formats have in common: no folders, and not what a single
// format keeps for itself.
func filesOnly(files map[string]file) []string {
	own := regexp.MustCompile(`^\.|/(changelog(\.Debian)?\.gz|copyright|CHANGELOG\.md)$|/lintian/|/licenses/`)
	var names []string
	for in, f := range files {
		if f.header.FileInfo().Mode().IsRegular() && !own.MatchString(in) {
			names = append(names, strings.Replace(in, "/zsh/vendor-completions/", "/zsh/site-functions/", 1))
		}
	}
	slices.Sort(names)
	return names
}

// TestPackages: each is of its name, version and architecture, and the three formats
// hold the same. What is in them is for test/system/packages.
func TestPackages(t *testing.T) {
	packages(func(part, arch string) {
		t.Run(part+"-"+arch, func(t *testing.T) {
			deb, rpm, arc := debName(part, arch), rpmName(part, arch), archName(part, arch)
			want := fmt.Sprintf("estiba-%s %s-1 %s", part, *version, arch)
			fields := command(t, "dpkg-deb", "--show", "--showformat", "${Package} ${Version} ${Architecture}", filepath.Join(*folder, deb))
			if fields != want {
				t.Errorf("%s: %s, want %s", deb, fields, want)
			}

			command(t, "rpm", "-K", "--nosignature", filepath.Join(*folder, rpm))
			want = fmt.Sprintf("estiba-%s %s-1 %s", part, *version, rpmArch[arch])
			if got := command(t, "rpm", "-qp", "--qf", "%{NAME} %{VERSION}-%{RELEASE} %{ARCH}", filepath.Join(*folder, rpm)); got != want {
				t.Errorf("%s: %s, want %s", rpm, got, want)
			}

			info := command(t, "bsdtar", "-xOf", filepath.Join(*folder, arc), ".PKGINFO")
			for _, line := range []string{"pkgname = estiba-" + part, "pkgver = " + *version + "-1", "arch = " + archArch[arch]} {
				if !strings.Contains(info, line+"\n") {
					t.Errorf("%s: no line %q in .PKGINFO:\n%s", arc, line, info)
				}
			}

			files := filesOnly(contents(t, deb))
			for _, other := range []string{rpm, arc} {
				if got := filesOnly(contents(t, other)); !slices.Equal(got, files) {
					t.Errorf("%s has %q, %s has %q", other, got, deb, files)
				}
			}
			needed := "usr/bin/estiba-" + part
			if part == "dkms" {
				needed = "usr/src/estiba-" + *version + "/dkms.conf"
			}
			if !slices.Contains(files, needed) {
				t.Errorf("%s: no %s", deb, needed)
			}
		})
	})
}
