# To be sourced: what needs no running system.
packages=$top/build/packages
units='exporter/packaging/estiba-exporter.service manager/packaging/estiba-manager.service
    generator/packaging/estiba-generator.service generator/packaging/estiba-generator.timer'

# sources FOLDER: the working tree as it is now, without Git and without what
# builds made.
sources() {
    mkdir -p "$1"
    git ls-files -z -co --exclude-standard | { while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done; } |
        tar -c --null -T - | tar -x -C "$1"
}

# build_in FOLDER OUT: the packages of the sources in FOLDER, as the commit has it.
build_in() {
    (cd "$1" && env OUT="$2" DEB_VERSION="$deb_version" VERSION="$version" REVISION="$revision" \
        SOURCE_DATE_EPOCH="$epoch" tools/packages/build.sh)
}

build_packages() {
    version=$(git describe --tags --always --dirty) revision=$(git rev-parse HEAD) epoch=$(git log -1 --format=%ct)
    deb_version=1.0.0~test-1
    # Two copies at once: others may go on editing.
    sources "$work/one"
    sources "$work/a folder/two"
    rm -rf "$packages"
    must "make packages" build_in "$work/one" "$packages"
    debs=$(echo "$packages"/*.deb)
    # shellcheck disable=SC2086
    [ "$(echo $debs | wc -w)" -eq 4 ] || die "want four packages, got: $debs"
    # Another folder, umask, time zone and language, while the rest goes on.
    (
        umask 077
        export TZ=Asia/Kathmandu LC_ALL=C.UTF-8 LANG=C.UTF-8
        build_in "$work/a folder/two" "$work/again"
    ) >"$work/again.log" 2>&1 &
    again=$!
}

wait_reproducible() {
    local deb
    if ! wait "$again"; then
        cat "$work/again.log"
        fail "the packages are built a second time"
        return
    fi
    for deb in $debs; do
        try "the same bytes from a second build elsewhere: ${deb##*/}" cmp "$deb" "$work/again/${deb##*/}"
    done
}

# exposure FILE: in tenths, as systemd-analyze has it.
exposure() {
    systemd-analyze security --offline=true --no-pager "$1" | sed -n 's/^→ Overall exposure level for .*: \([0-9]*\)\.\([0-9]\) .*/\1\2/p'
}

# exposed FILE: no more than docs/systemd.md says.
exposed() {
    local name=${1##*/} stated found
    stated=$(sed -n "s/^| \`$name\` | \([0-9]*\)\.\([0-9]\) |.*/\1\2/p" docs/systemd.md)
    found=$(exposure "$1")
    echo "$name: exposure $found, docs/systemd.md says ${stated:-nothing} (in tenths)"
    [ -n "$stated" ] && [ -n "$found" ] && [ "$((10#$found))" -le "$((10#$stated))" ]
}

# verified: systemd finds nothing to say about any of our units, installed.
verified() {
    local said
    said=$(inside bare sh -c 'systemd-analyze verify --man=no /usr/lib/systemd/system/estiba-*.* 2>&1') || { echo "$said"; return 1; }
    [ -z "$said" ] || { echo "$said"; return 1; }
}

test_units() {
    local unit
    for unit in $units; do
        case $unit in *.service) try "exposure of ${unit##*/}" exposed "$unit" ;; esac
    done
}

# Warnings count, too. Not these: nobody uploads to Debian, and --help is the manual.
checked_by_lintian() {
    mkdir -p "$work/bare/root/packages"
    # shellcheck disable=SC2086
    cp $debs "$work/bare/root/packages"
    inside bare sh -c 'lintian --allow-root --fail-on error,warning \
        --suppress-tags initial-upload-closes-no-bugs,no-manual-page /packages/*.deb'
}

test_lintian() {
    copy bare
    try "lintian" checked_by_lintian
}

# Owner and mode of what is in the packages.
modes() {
    local deb wrong=0
    for deb in $debs; do
        dpkg-deb -c "$deb" | awk -v deb="${deb##*/}" '
            $2 != "root/root" { print deb ": owner of", $0; bad = 1 }
            $1 !~ /^(drwxr-xr-x|-rw-r--r--)$/ && !($1 == "-rwxr-xr-x" && $6 ~ /^\.\/usr\/bin\//) { print deb ": mode of", $0; bad = 1 }
            END { exit bad }' || wrong=1
    done
    return $wrong
}

# make install puts what the packages put, except what every Debian package has.
same_as_packages() {
    local tree=$1 deb
    for deb in $debs; do
        case $deb in *estiba-dkms*) ;; *) dpkg-deb --fsys-tarfile "$deb" | tar -t ;; esac
    done | grep -v '/$' | grep -vE '/(changelog(\.Debian)?\.gz|copyright)$|/lintian/' | sed 's#^\.##' | sort >"$work/want"
    (cd "$tree" && find . -type f ! -name installed -printf '/%P\n') | sort >"$work/got"
    diff "$work/want" "$work/got"
}
installed_in() { make -s -C "$work/one" install DESTDIR="$1"; }
removed_from() { make -s -C "$work/one" uninstall DESTDIR="$1"; }
keeps() { grep -qx "# mine" "$1/etc/estiba/policy.yml"; }
only_mine() {
    [ "$(cd "$1" && find . -type f)" = ./etc/estiba/policy.yml ] && [ -z "$(find "$1" -type d -name '*estiba*' ! -path '*/etc/estiba')" ]
}

test_make_install() {
    local tree=$work/tree
    try "owners and modes in the packages" modes
    # The programs out of the packages: nothing is compiled again.
    mkdir -p "$work/one/build/bin"
    for part in exporter manager generator; do
        dpkg-deb --fsys-tarfile "$packages/estiba-${part}_"*.deb | tar -x -O "./usr/bin/estiba-$part" >"$work/one/build/bin/$part"
    done
    try "make install" installed_in "$tree"
    try "make install puts what the packages put" same_as_packages "$tree"
    echo "# mine" >>"$tree/etc/estiba/policy.yml"
    try "make install again" installed_in "$tree"
    try "it keeps a changed policy" keeps "$tree"
    try "make uninstall" removed_from "$tree"
    try "it leaves the changed policy and nothing else" only_mine "$tree"
    rm -rf "$tree"
}
