#!/usr/bin/env bash
# build.sh [PART…]: makes Debian packages of exporter, manager, generator and
# the module's sources for DKMS, into build/packages. They depend on the sources
# alone: the same commit makes the same bytes, whoever builds it, where and
# when (with the same Go, and a dpkg that compresses alike).
#
# From the environment, for sources that are no Git repository, or another
# platform: DEB_VERSION, VERSION, REVISION, SOURCE_DATE_EPOCH, GOARCH; and OUT,
# the folder for the packages.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=lib.sh
. tools/packages/lib.sh
parts=("$@")
[ $# -gt 0 ] || parts=(exporter manager generator dkms)
for part in "${parts[@]}"; do
    [ -d "tools/packages/debian/$part" ] || fail "no part is called $part: want exporter, manager, generator or dkms"
done
command -v dpkg-deb >/dev/null || fail "dpkg-deb is missing: Debian packages are made on Debian or Ubuntu"
umask 022
export LC_ALL=C TZ=UTC
out=$(realpath -m "${OUT:-build/packages}")

# What the commit says of itself.
VERSION=${VERSION:-$(git describe --tags --always --abbrev=12 --dirty 2>/dev/null || echo unknown)}
REVISION=${REVISION:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}

# deb_version: a tag v1.2.3 is 1.2.3-1, three commits later is 1.2.3+3.gabc1234-1.
# Without a tag it is below every release, and grows with the commit's time.
deb_version() {
    local tag dirty=
    case $VERSION in *-dirty) dirty=+dirty ;; esac
    if tag=$(git describe --tags --abbrev=12 --match 'v[0-9]*' 2>/dev/null); then
        tag=$(sed -E 's/^v//; s/-([0-9]+)-(g[0-9a-f]+)$/+\1.\2/; s/-/~/g' <<<"$tag")
    else
        tag=0~git$(date -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S).${REVISION:0:7}
    fi
    echo "$tag$dirty-1"
}
DEB_VERSION=${DEB_VERSION:-$(deb_version)}
dpkg --validate-version "$DEB_VERSION" || fail "version $DEB_VERSION"

case ${GOARCH:=$(go env GOARCH)} in
amd64 | arm64 | riscv64 | s390x | loong64) architecture=$GOARCH ;;
ppc64le) architecture=ppc64el ;;
*) fail "no package for $GOARCH: the programs are for 64-bit hosts" ;;
esac
export GOARCH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The same programs as those of `make build`, and not in its folder: somebody
# may be building there.
programs=$work/bin
make -s build BIN="$programs" VERSION="$VERSION" REVISION="$REVISION" DATE="$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)"

# script NAME PART: a maintainer script, with what the part says in `variables`.
script() {
    local units='' enable='' purge=: from=tools/packages/debian/$1.in
    # shellcheck disable=SC1090
    . "tools/packages/debian/$2/variables"
    [ ! -f "tools/packages/debian/$2/$1.in" ] || from=tools/packages/debian/$2/$1.in
    sed "s#@package@#estiba-$2#g; s#@module@#$module_version#g; s#@units@#$units#g; s#@enable@#$enable#g
        s#@purge@#$purge#g" "$from"
}

package() {
    local part=$1 name=estiba-$1 root=$work/$1 mode to from arch=$architecture doc name_
    doc=$root/usr/share/doc/$name
    [ "$part" != dkms ] || arch=all
    install -d -m 755 "$root" "$root/DEBIAN" "$doc"

    files /usr "$part" >"$work/$part.files"
    while read -r mode to from; do
        put "$root" /usr "$mode" "$to" "$from"
        case $to in /etc/*) echo "$to" >>"$root/DEBIAN/conffiles" ;; esac
    done <"$work/$part.files"

    # What every Debian package has.
    install -m 644 "tools/packages/debian/copyright" "$doc/copyright"
    gzip -9n <CHANGELOG.md | install -m 644 /dev/stdin "$doc/changelog.gz"
    printf 'estiba (%s) unstable; urgency=medium\n\n  * Of commit\n    %s;\n    changelog.gz says what is new.\n\n -- %s  %s\n' \
        "$DEB_VERSION" "$REVISION" "$maintainer" "$(date -R -d "@$SOURCE_DATE_EPOCH")" |
        gzip -9n | install -m 644 /dev/stdin "$doc/changelog.Debian.gz"
    if [ "$part" != dkms ]; then
        install -d -m 755 "$root/usr/share/lintian/overrides"
        install -m 644 tools/packages/debian/lintian-overrides "$root/usr/share/lintian/overrides/$name"
    fi

    {
        printf 'Package: %s\nSource: estiba\nVersion: %s\nArchitecture: %s\nMaintainer: %s\n' \
            "$name" "$DEB_VERSION" "$arch" "$maintainer"
        printf 'Installed-Size: %s\nPriority: optional\nHomepage: https://github.com/estiba/estiba\n' \
            "$(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%s\n' | awk '{n += int(($1 + 1023) / 1024)} END {print n}')"
        cat "tools/packages/debian/$part/control"
    } >"$root/DEBIAN/control"
    for name_ in postinst prerm postrm; do
        script "$name_" "$part" | install -m 755 /dev/stdin "$root/DEBIAN/$name_"
    done
    (cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\n' | sort | grep -v '^etc/' | xargs -d '\n' md5sum) >"$root/DEBIAN/md5sums"
    chmod 644 "$root"/DEBIAN/{control,md5sums}
    [ ! -f "$root/DEBIAN/conffiles" ] || chmod 644 "$root/DEBIAN/conffiles"

    find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group -Zxz --build "$root" "$out/${name}_${DEB_VERSION}_$arch.deb" >/dev/null
    echo "$out/${name}_${DEB_VERSION}_$arch.deb"
}

maintainer='Estiba maintainers <estiba@users.noreply.github.com>'
mkdir -p "$out"
for part in "${parts[@]}"; do package "$part"; done
