#!/usr/bin/env bash
# release.sh VERSION: makes every file of a release from the last commit, into
# build/release/VERSION. The same commit makes the same bytes on every host. It needs
# neither a Docker Engine nor a registry, tags nothing and publishes nothing.
#
# For sources outside of a Git repository, behind `make release VERSION=…`:
#   REVISION=… SOURCE_DATE_EPOCH=…    the commit, and its time in seconds since 1970
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=../packages/lib.sh
. tools/packages/lib.sh
# shellcheck source=../go.sh
. tools/go.sh
umask 022
export LC_ALL=C TZ=UTC

version=${1:-} parts=(exporter manager generator) architectures=(amd64 arm64)
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "version \"$version\": want MAJOR.MINOR.PATCH, as in: make release VERSION=1.2.3"
# What docs/releasing.md has to be done before: a release says one version everywhere.
[ "$version" = "$(cat VERSION)" ] || fail "version $version: the file VERSION has $(cat VERSION)"
notes() { awk -v heading="## $version / " '/^## / { printing = index($0, heading) == 1; next } printing' CHANGELOG.md; }
grep -qE "^## ${version//./\\.} / [0-9]{4}-[0-9]{2}-[0-9]{2}\$" CHANGELOG.md || fail "CHANGELOG.md has no part \"## $version / YYYY-MM-DD\""

if [ -z "${REVISION:-}" ]; then
	REVISION=$(git rev-parse HEAD) || fail "these sources are no clone: want REVISION and SOURCE_DATE_EPOCH"
	SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
	[ -z "$(git status --porcelain)" ] || fail "there are changes that no commit has: $(git status --porcelain | head -n 3 | xargs)"
	if tagged=$(git rev-parse -q --verify "v$version^{commit}") && [ "$tagged" != "$REVISION" ]; then
		fail "the tag v$version is another commit, $tagged"
	fi
fi
: "${SOURCE_DATE_EPOCH:?want it with REVISION}"
# make replaces one from its environment by "unknown", where there is no Git.
[[ $REVISION =~ ^[0-9a-f]{40,64}$ ]] || fail "REVISION $REVISION: want a commit"
export SOURCE_DATE_EPOCH
date=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)

started=$SECONDS
step() { printf '%4d s  %s\n' $((SECONDS - started)) "$*"; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=$work/out
mkdir "$out"

# Our own tools run here, whatever is built with them.
tool() { CGO_ENABLED=0 go -C "$1" build -trimpath -buildvcs=false -o "$work/$2" "$3"; }
tool tools/release release .
tool tools/sbom cyclonedx github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod

step "programs"
for arch in "${architectures[@]}"; do
	GOOS=linux GOARCH=$arch make -s build BIN="$work/$arch" VERSION="$version" REVISION="$REVISION" DATE="$date"
done
native=$work/$(go env GOHOSTARCH)
[ -d "$native" ] || make -s build BIN="$native" VERSION="$version" REVISION="$REVISION" DATE="$date"
texts=$work/texts
make_texts "$native" "${parts[@]}"

# All that goes with the programs is text, and the module's sources: those packages
# are the same for every architecture. Compression takes most of the time of a release,
# on one core each.
step "packages"
pids=()
for arch in "${architectures[@]}"; do
	made=("${parts[@]}")
	[ "$arch" != "${architectures[0]}" ] || made+=(dkms)
	GOARCH=$arch OUT=$out FORMATS="deb rpm archlinux" PROGRAMS=$work/$arch TEXTS=$texts \
		PACKAGE_VERSION=$version-1 VERSION=$version REVISION=$REVISION tools/packages/build.sh "${made[@]}" >/dev/null &
	pids+=($!)
done
status=0
for pid in "${pids[@]}"; do wait "$pid" || status=$?; done
[ "$status" -eq 0 ] || fail "packaging failed"

# place PATH: where in a tarball the file is that a package puts there; nothing if it
# is in the tarball under another name.
place() {
	case $1 in
	/usr/bin/*) echo "${1#/usr/bin/}" ;;
	/usr/share/man/man1/*) echo "man/${1##*/}" ;;
	/usr/share/bash-completion/completions/*) echo "completions/bash/${1##*/}" ;;
	/usr/share/zsh/vendor-completions/*) echo "completions/zsh/${1##*/}" ;;
	/usr/share/fish/vendor_completions.d/*) echo "completions/fish/${1##*/}" ;;
	/usr/lib/systemd/system/*) echo "systemd/${1##*/}" ;;
	/usr/lib/sysusers.d/* | /usr/lib/tmpfiles.d/*) echo "${1#/usr/lib/}" ;;
	/etc/default/*) echo "${1#/etc/}" ;;
	/etc/estiba/policy.yml | /usr/lib/modules-load.d/*) ;;
	/usr/share/estiba/*) echo "${1#/usr/share/estiba/}" ;;
	/usr/share/doc/estiba-generator/README.md) echo "generator/README.md" ;;
	/usr/share/doc/estiba-dkms/README.md) echo "kmod/README.md" ;;
	/usr/share/doc/estiba-*/*) echo "docs/${1#/usr/share/doc/estiba-*/}" ;;
	/usr/src/estiba-"$module_version"/*) echo "kmod/${1##*/}" ;;
	*) fail "no place in a tarball for $1" ;;
	esac
}

tools/licences/texts.sh "${parts[@]/#/./}" >"$work/licences"
for arch in "${architectures[@]}"; do
	step "tarball for $arch"
	programs=$work/$arch
	sed "s/@version@/$version/g; s/@platform@/linux\/$arch/g" tools/release/readme.txt >"$work/readme"
	list=$(files /usr "${parts[@]}" dkms)
	{
		printf '644 %s %s\n' README.md "$work/readme" LICENSE LICENSE CHANGELOG.md CHANGELOG.md THIRD_PARTY_LICENSES "$work/licences"
		while read -r mode to from; do
			to=$(place "$to")
			[ -z "$to" ] || printf '%s %s %s\n' "$mode" "$to" "$from"
		done <<<"$list" | sort -u
	} >"$work/list"
	name=estiba-$version.linux-$arch
	"$work/release" tarball -time="$SOURCE_DATE_EPOCH" -folder="$name" -output="$out/$name.tar.gz" <"$work/list"
done

"$work/release" certificates >"$work/certificates"
for part in "${parts[@]}"; do
	step "images of $part"
	contexts=()
	for arch in "${architectures[@]}"; do
		context=$work/context/$part/$arch
		# What tools/compose/images.sh has in the context, too.
		mkdir -p "$context"/{certs,state}
		cp "$work/certificates" "$context/certs/ca-certificates.crt"
		cp "$work/$arch/$part" "$context/$part"
		contexts+=("$arch=$context")
	done
	"$work/release" images -time="$SOURCE_DATE_EPOCH" -output="$out/estiba-$part-$version" \
		-dockerfile="$part/packaging/Dockerfile" -name="estiba/$part:$version" -revision="$REVISION" "${contexts[@]}"
done

step "bills of materials"
for arch in "${architectures[@]}"; do
	for part in "${parts[@]}"; do
		# Serial number and time would be of this run. What it logs is no news.
		"$work/cyclonedx" bin -json -output-version 1.6 -std -noserial -notimestamp -version "v$version" \
			-output "$out/estiba-$part-$version.linux-$arch.cdx.json" "$work/$arch/$part" 2>"$work/log" || {
			cat "$work/log" >&2
			fail "no bill of materials for $part on $arch"
		}
	done
done

notes | sed '/./,$!d' >"$out/release-notes.md"
(cd "$out" && sha256sum -- * >"$work/sums" && mv "$work/sums" sha256sums.txt)
# All of it or nothing is there.
mkdir -p build/release
rm -rf "build/release/$version"
mv "$out" "build/release/$version"
step "build/release/$version: $(find "build/release/$version" -type f | wc -l) files, $(du -sh "build/release/$version" | cut -f 1)"
