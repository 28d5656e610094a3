#!/usr/bin/env bash
# build.sh [PART…]: packages of exporter, manager, generator and the module's
# sources for DKMS, into build/packages, made by the pinned nfpm. The same commit
# makes the same bytes on every host (with the same Go).
#
# From the environment:
#   FORMATS    "deb", "rpm" and "archlinux"; without it, that of this host
#   GOARCH     another platform
#   OUT        the folder for the packages
#   PROGRAMS, TEXTS
#              folders with the programs for that platform and with their texts, where
#              they are made already
#   PACKAGE_VERSION, VERSION, REVISION, SOURCE_DATE_EPOCH
#              for sources outside of a Git repository
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=lib.sh
. tools/packages/lib.sh
# shellcheck source=../go.sh
. tools/go.sh
umask 022
export LC_ALL=C TZ=UTC
out=$(realpath -m "${OUT:-build/packages}")

parts=("$@")
[ $# -gt 0 ] || parts=(exporter manager generator dkms)
for part in "${parts[@]}"; do
	case $part in
	exporter | manager | generator | dkms) ;;
	*) fail "unknown part $part: want exporter, manager, generator or dkms" ;;
	esac
done

# native_format: that of this host's package manager; deb where there is none.
native_format() {
	local ID='' ID_LIKE=''
	# shellcheck disable=SC1091
	[ ! -f /etc/os-release ] || . /etc/os-release
	case " $ID $ID_LIKE " in
	*" debian "*) echo deb ;;
	*" fedora "* | *" rhel "* | *" suse "*) echo rpm ;;
	*" arch "*) echo archlinux ;;
	*) echo deb ;;
	esac
}
read -ra formats <<<"${FORMATS:-$(native_format)}"
for format in "${formats[@]}"; do
	case $format in
	deb | rpm | archlinux) ;;
	*) fail "unknown format $format: want deb, rpm or archlinux" ;;
	esac
done

VERSION=${VERSION:-$(git describe --tags --always --abbrev=12 --dirty 2>/dev/null || echo unknown)}
VERSION=${VERSION#v}
REVISION=${REVISION:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}

# package_version: a tag v1.2.3 is 1.2.3-1, three commits later is 1.2.3+3.gabc1234-1.
# Without a tag it is below every release, and grows with the commit's time.
package_version() {
	local tag dirty=
	case $VERSION in *-dirty) dirty=+dirty ;; esac
	if tag=$(git describe --tags --abbrev=12 --match 'v[0-9]*' 2>/dev/null); then
		tag=$(sed -E 's/^v//; s/-([0-9]+)-(g[0-9a-f]+)$/+\1.\2/; s/-/~/g' <<<"$tag")
	else
		tag=0~git$(date -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S).${REVISION:0:7}
	fi
	echo "$tag$dirty-1"
}
PACKAGE_VERSION=${PACKAGE_VERSION:-$(package_version)}
[[ $PACKAGE_VERSION =~ ^[0-9][0-9A-Za-z.+~]*-[0-9]+$ ]] || fail "version $PACKAGE_VERSION: want VERSION-RELEASE"

case ${GOARCH:=$(go env GOARCH)} in
amd64 | arm64 | riscv64 | s390x | loong64 | ppc64le) ;;
*) fail "no package for $GOARCH: the programs are for 64-bit hosts" ;;
esac
export GOARCH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ -n "${PROGRAMS:-}" ]; then
	programs=$(realpath "$PROGRAMS") texts=$(realpath "${TEXTS:?want TEXTS with PROGRAMS}")
else
	# The same programs as those of `make build`, outside of its folder: another build
	# may run there.
	programs=$work/bin
	make -s build BIN="$programs" VERSION="$VERSION" REVISION="$REVISION" DATE="$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)"
	# Man pages and completions by programs of this host.
	texts=$work/texts native=$programs
	if [ "$GOARCH" != "$(go env GOHOSTARCH)" ]; then
		native=$work/native
		env -u GOARCH make -s build BIN="$native"
	fi
	make_texts "$native" exporter manager generator
fi
nfpm=$(env -u GOOS -u GOARCH CGO_ENABLED=0 go -C tools/packages tool -n nfpm)

# script TEMPLATE FIRST LAST: a maintainer script of the part. FIRST and LAST are the
# conditions for the first installation and the final removal.
script() {
	local units='' enable='' purge=:
	case $part in
	exporter) units=estiba-exporter.service enable=$units ;;
	# Enabled by the operator only: it removes containers. A service with a dynamic
	# user has its folder in private/ and a link to it.
	manager)
		units=estiba-manager.service
		purge='rm -rf /var/lib/private/estiba/manager /var/lib/estiba/manager; rmdir /var/lib/private/estiba /var/lib/estiba 2>/dev/null || true'
		;;
	# Enabled by the operator only: it puts load on the host.
	generator)
		units=estiba-generator.timer
		purge='rm -f /run/lock/estiba-generator-generator.lock'
		;;
	esac
	sed "s#@package@#estiba-$part#g; s#@module@#$module_version#g; s#@units@#$units#g; s#@enable@#$enable#g
        s#@purge@#$purge#g; s#@first@#${2:-}#g; s#@last@#${3:-}#g" "tools/packages/scripts/$1.in"
}

# scripts FOLDER: the part's maintainer scripts for all formats.
scripts() {
	local name
	mkdir -p "$1"/{deb,rpm,archlinux}
	if [ "$part" = dkms ]; then
		for name in postinst prerm postrm; do script "dkms-deb/$name" >"$1/deb/$name"; done
		for name in preinstall postinstall preremove; do script "dkms-rpm/$name" >"$1/rpm/$name"; done
		return
	fi
	for name in postinst prerm postrm; do script "deb/$name" >"$1/deb/$name"; done
	for name in postinstall preremove postremove; do
		# The argument is the number of versions that are installed afterwards.
		script "systemd/$name" '[ "$1" -eq 1 ]' '[ "$1" -eq 0 ]' >"$1/rpm/$name"
		script "systemd/$name" true true >"$1/archlinux/$name"
	done
	script systemd/postinstall false >"$1/archlinux/postupgrade"
}

# content MODE TO FROM [FIELDS]: an entry of nfpm's list of contents.
content() {
	local type=file
	case $2 in /etc/*) type='config|noreplace' ;; esac
	printf -- '- {src: "%s", dst: "%s", type: "%s", file_info: {mode: 0%s}%s}\n' "$(realpath "$3")" "$2" "$type" "$1" "${4:+, $4}"
}

# contents FOLDER: the list of what is in the part's packages; what is made for it is
# in FOLDER.
contents() {
	local name=estiba-$part doc=/usr/share/doc/estiba-$part list mode to from folder format
	list=$(files /usr "$part")
	while read -r mode to from; do
		case $to in
		*/zsh/vendor-completions/*)
			content "$mode" "$to" "$from" 'packager: deb'
			for format in rpm archlinux; do content "$mode" "${to/vendor-completions/site-functions}" "$from" "packager: $format"; done
			;;
		*) content "$mode" "$to" "$from" ;;
		esac
	done <<<"$list"
	# The folders that are ours: the package owns them.
	awk '{ path = $2; while (sub(/\/[^\/]*$/, "", path) && path ~ /estiba/) print path }' <<<"$list" | sort -u |
		while read -r folder; do printf -- '- {dst: "%s", type: dir, file_info: {mode: 0755}}\n' "$folder"; done

	gzip -9n <CHANGELOG.md >"$1/changelog.gz"
	printf 'estiba (%s) unstable; urgency=medium\n\n  * Commit\n    %s;\n    changelog.gz lists the changes.\n\n -- %s  %s\n' \
		"$PACKAGE_VERSION" "$REVISION" "$(sed -n 's/^maintainer: //p' tools/packages/nfpm/common.yaml)" \
		"$(date -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$1/changelog.Debian.gz"
	content 644 "$doc/changelog.gz" "$1/changelog.gz" 'packager: deb'
	content 644 "$doc/changelog.Debian.gz" "$1/changelog.Debian.gz" 'packager: deb'
	content 644 "$doc/copyright" tools/packages/debian/copyright 'packager: deb'
	[ "$part" = dkms ] ||
		content 644 "/usr/share/lintian/overrides/$name" tools/packages/debian/lintian-overrides 'packager: deb'

	local licence=LICENSE
	[ "$part" != dkms ] || licence=kmod/COPYING
	for format in rpm archlinux; do
		printf -- '- {dst: "/usr/share/licenses/%s", type: dir, packager: %s, file_info: {mode: 0755}}\n' "$name" "$format"
		content 644 "$doc/CHANGELOG.md" CHANGELOG.md "packager: $format"
		content 644 "/usr/share/licenses/$name/LICENSE" "$licence" "packager: $format"
	done
}

# configuration FORMAT: nfpm's, of the part. rpm keeps the summary apart from the
# description; pacman has one line for both.
configuration() {
	local summary from=$work/$part/nfpm.yaml
	summary=$(sed -n '/^description:/{n;s/^ *//p}' "$from")
	case $1 in
	deb) cat "$from" ;;
	rpm) sed -e '/^description:/{n;d}' -e "s/^rpm:/&\n  summary: \"$summary\"/" "$from" ;;
	archlinux) sed -e '/^  /b' -e "s/^description:.*/description: \"$summary\"/" "$from" | awk '
            /^[^ ]/ { skip = /^description:/; if (skip) print }
            !skip' ;;
	esac
}

# package FORMAT: a package of the part, from its folder.
package() {
	local format=$1 version=${PACKAGE_VERSION%-*} config=$work/$part/$1.yaml
	# pacman has no mark for versions below a release.
	[ "$format" != archlinux ] || version=${version//\~/}
	configuration "$format" >"$config"
	(cd "$work/$part" && PART=$part PACKAGE_ARCH=$arch PACKAGE_UPSTREAM=$version PACKAGE_RELEASE=${PACKAGE_VERSION##*-} \
		"$nfpm" package --packager "$format" --config "$config" --target "$out") >"$work/log" 2>&1 || {
		cat "$work/log" >&2
		fail "packaging $part as $format failed"
	}
	sed -n 's/^created package: //p' "$work/log"
}

mkdir -p "$out"
for part in "${parts[@]}"; do
	arch=$GOARCH
	[ "$part" != dkms ] || arch=all
	scripts "$work/$part"
	{
		cat tools/packages/nfpm/common.yaml "tools/packages/nfpm/$part.yaml"
		echo contents:
		contents "$work/$part"
	} >"$work/$part/nfpm.yaml"
	for format in "${formats[@]}"; do package "$format"; done
done
