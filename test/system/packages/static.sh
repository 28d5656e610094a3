# shellcheck shell=bash
# To be sourced: what needs no running system.
# shellcheck disable=SC2154 # run.sh sets top and work

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
	(cd "$1" && env OUT="$2" FORMATS="deb rpm archlinux" PACKAGE_VERSION=1.0.0~test-1 VERSION="$version" \
		REVISION="$revision" SOURCE_DATE_EPOCH="$epoch" tools/packages/build.sh)
}

build_packages() {
	version=$(git describe --tags --always --dirty) revision=$(git rev-parse HEAD) epoch=$(git log -1 --format=%ct)
	version=${version#v}
	# Two copies at once: others may go on editing.
	sources "$work/one"
	sources "$work/a folder/two"
	rm -rf "$packages"
	must "make packages" build_in "$work/one" "$packages"
	debs=$(echo "$packages"/estiba-*_1.0.0~test-1_*.deb)
	rpms=$(echo "$packages"/estiba-*-1.0.0~test-1.*.rpm)
	archlinux=$(echo "$packages"/estiba-*-1.0.0test-1-*.pkg.tar.zst)
	[ "$(wc -w <<<"$debs $rpms $archlinux")" -eq 12 ] || die "want four packages of each format, got: $(ls "$packages")"
	# Another folder, umask, time zone and language, while the rest goes on.
	(
		umask 077
		export TZ=Asia/Kathmandu LC_ALL=C.UTF-8 LANG=C.UTF-8
		build_in "$work/a folder/two" "$work/again"
	) >"$work/again.log" 2>&1 &
	again=$!
}

wait_reproducible() {
	local package
	if ! wait "$again"; then
		cat "$work/again.log"
		fail "the packages are built a second time"
		return
	fi
	for package in $debs $rpms $archlinux; do
		try "the same bytes from a second build elsewhere: ${package##*/}" cmp "$package" "$work/again/${package##*/}"
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
	said=$(inside bare sh -c 'systemd-analyze verify --man=no /usr/lib/systemd/system/estiba-*.* 2>&1') || {
		echo "$said"
		return 1
	}
	[ -z "$said" ] || {
		echo "$said"
		return 1
	}
}

test_units() {
	local unit
	for unit in $units; do
		case $unit in *.service) try "exposure of ${unit##*/}" exposed "$unit" ;; esac
	done
}

# Warnings count, too. Not this: the packages are not uploaded to Debian.
checked_by_lintian() {
	mkdir -p "$work/bare/root/packages"
	# shellcheck disable=SC2086
	cp $debs "$work/bare/root/packages"
	inside bare sh -c 'lintian --allow-root --fail-on error,warning \
        --suppress-tags initial-upload-closes-no-bugs /packages/*.deb'
}

test_lintian() {
	copy bare
	try "lintian" checked_by_lintian
}

# lists WANT GOT…: the same lines, in any order.
lists() {
	local want=$1
	shift
	diff <(sort "$want") <(printf '%s\n' "$@" | sort)
}

# deb_files PART: what is in the Debian package except what only Debian has; its folder
# of zsh is its own.
deb_files() {
	dpkg-deb --fsys-tarfile "$packages/estiba-$1"_*.deb | tar -t | grep -v '/$' |
		grep -vE '/(changelog(\.Debian)?\.gz|copyright)$|/lintian/' | sed 's#^\.##; s#/zsh/vendor-completions/#/zsh/site-functions/#'
	printf '%s\n' "/usr/share/doc/estiba-$1/CHANGELOG.md" "/usr/share/licenses/estiba-$1/LICENSE"
}
deb_conffiles() { dpkg-deb --ctrl-tarfile "$packages/estiba-$1"_*.deb | tar -xO ./conffiles 2>/dev/null || true; }

# The md5sums of the Debian package are those of its files.
md5sums() {
	local deb
	for deb in $debs; do
		rm -rf "$work/deb"
		dpkg-deb -x "$deb" "$work/deb" && dpkg-deb --ctrl-tarfile "$deb" | tar -xO ./md5sums >"$work/md5sums" || return 1
		(cd "$work/deb" && md5sum --quiet -c "$work/md5sums") || return 1
		diff <(cut -c 35- "$work/md5sums" | sort) <(cd "$work/deb" && find . -type f -printf '%P\n' | sort) || return 1
	done
}

# rpm without the warning that Debian's has, on a database of the test's own.
rpm() { command rpm --dbpath "$work/rpmdb" "$@" 2> >(grep -vE 'Alien|assuming you know' >&2); }

rpm_part() {
	local part=$1 file=$2 query
	rpm -K --nosignature "$file" || return 1
	query=$(rpm -qp --qf '%{NAME} %{VERSION} %{RELEASE} %{BUILDHOST} %{BUILDTIME}' "$file")
	echo "$query"
	[ "$query" = "estiba-$part 1.0.0~test 1 localhost $epoch" ] || return 1
	# Files, folders of ours, and both of root.
	deb_files "$part" >"$work/want"
	# shellcheck disable=SC2046
	lists "$work/want" $(rpm -qp --qf '[%{FILEMODES:perms} %{FILENAMES}\n]' "$file" | sed -n 's/^-[^ ]* //p') || return 1
	rpm -qplv "$file" | awk '
        $3 != "root" || $4 != "root" { print "owner of", $0; bad = 1 }
        $1 !~ /^(drwxr-xr-x|-rw-r--r--)$/ && !($1 == "-rwxr-xr-x" && $NF ~ /^\/usr\/bin\//) { print "mode of", $0; bad = 1 }
        END { exit bad }' || return 1
	diff <(deb_conffiles "$part" | sort) <(rpm -qp --configfiles "$file" | grep / | sort) || return 1
	# config is 1, noreplace 16.
	! rpm -qp --qf '[%{FILEFLAGS} %{FILENAMES}\n]' "$file" | awk '$2 ~ /^\/etc\/.*\// && $1 != 17' | grep .
}

# installed_by_rpm: into a tree; a changed policy stays when the packages go.
installed_by_rpm() {
	local tree=$work/rpm-tree
	rm -rf "$tree"
	mkdir -p "$tree"
	# shellcheck disable=SC2086
	rpm --root "$tree" --dbpath /db --nodeps --noscripts -i $rpms || return 1
	rpm --root "$tree" --dbpath /db --nodeps -V estiba-exporter estiba-manager estiba-generator estiba-dkms || return 1
	"$tree/usr/bin/estiba-manager" check "$tree/etc/estiba/policy.yml" || return 1
	echo "# mine" >>"$tree/etc/estiba/policy.yml"
	rpm --root "$tree" --dbpath /db --nodeps --noscripts -e estiba-exporter estiba-manager estiba-generator estiba-dkms || return 1
	[ "$(cd "$tree" && find . -path ./db -prune -o \( -type f -o -name '*estiba*' \) -print | sort | xargs)" = './etc/estiba ./etc/estiba/policy.yml.rpmsave' ]
}

archlinux_part() {
	local part=$1 file=$2 config
	bsdtar -xOf "$file" .PKGINFO >"$work/pkginfo"
	cat "$work/pkginfo"
	grep -qx "pkgname = estiba-$part" "$work/pkginfo" && grep -qx 'pkgver = 1.0.0test-1' "$work/pkginfo" &&
		grep -qx "builddate = $epoch" "$work/pkginfo" && grep -qE '^arch = (any|x86_64|aarch64)$' "$work/pkginfo" &&
		grep -qE '^depend = (systemd|dkms>=2.8)$' "$work/pkginfo" && [ "$(grep -c '^pkgdesc = ' "$work/pkginfo")" -eq 1 ] || return 1
	deb_files "$part" >"$work/want"
	# shellcheck disable=SC2046
	lists "$work/want" $(bsdtar -tf "$file" | grep -vE '/$|^\.' | sed 's#^#/#') || return 1
	bsdtar -tvf "$file" | awk '
        ($3 != "0" && $3 != "root") || ($4 != "0" && $4 != "root") { print "owner of", $0; bad = 1 }
        $1 !~ /^(drwxr-xr-x|-rw-r--r--)$/ && !($1 == "-rwxr-xr-x" && $NF ~ /^usr\/bin\//) { print "mode of", $0; bad = 1 }
        END { exit bad }' || return 1
	config=$(sed -n 's#^backup = #/#p' "$work/pkginfo" | sort)
	diff <(deb_conffiles "$part" | sort) <([ -z "$config" ] || echo "$config")
}

# calls ENABLED SCRIPT ARGUMENT: what a maintainer script does to units, with systemd
# running and, if ENABLED is true, all units enabled.
calls() {
	local stubs=$work/stubs name
	rm -rf "$stubs"
	mkdir -p "$stubs"
	for name in systemd-sysusers systemd-tmpfiles; do printf '#!/bin/sh\n' >"$stubs/$name"; done
	# shellcheck disable=SC2016
	printf '#!/bin/sh\ncase "$*" in\n*is-enabled*) %s ;;\n*daemon-reload*) ;;\n*) echo "$*" ;;\nesac\n' "$1" >"$stubs/systemctl"
	chmod +x "$stubs"/*
	printf '%s\n' "${2//\/run\/systemd\/system/$stubs}" >"$work/script"
	PATH=$stubs:$PATH sh "$work/script" "$3"
}
# arch_function PACKAGE NAME: its body, as a script.
arch_function() { bsdtar -xOf "$1" .INSTALL | sed -n "/^function $2() {\$/,/^}\$/p" | sed '1d;$d'; }

# calls_are WANT FORMAT PART EVENT [ENABLED]
calls_are() {
	local want=$1 format=$2 part=$3 event=$4 enabled=${5:-false} text argument=1.0.0-1 got
	case $format-$event in
	rpm-install) text='%{POSTIN}' argument=1 ;;
	rpm-upgrade) text='%{POSTIN}' argument=2 ;;
	rpm-replaced) text='%{PREUN}' argument=1 ;;
	rpm-removal) text='%{PREUN}' argument=0 ;;
	archlinux-install) text=post_install ;;
	archlinux-upgrade) text=post_upgrade ;;
	archlinux-removal) text=pre_remove ;;
	esac
	case $format in
	rpm) text=$(rpm -qp --qf "$text" "$packages/estiba-$part"-*.rpm) ;;
	archlinux) text=$(arch_function "$packages/estiba-$part"-*.pkg.tar.zst "$text") ;;
	esac
	got=$(calls "$enabled" "$text" "$argument" | paste -sd ';')
	[ "$got" = "$want" ] || {
		echo "$part, $format, $event, enabled $enabled: got \"$got\", want \"$want\""
		return 1
	}
}

# Only the exporter is ever enabled, and only what is enabled is started.
scripts_of() {
	local format=$1 unit=estiba-exporter.service status=0 part
	calls_are "--no-reload preset $unit;try-restart $unit" "$format" exporter install || status=1
	calls_are "--no-reload preset $unit;start $unit" "$format" exporter install true || status=1
	calls_are "try-restart $unit" "$format" exporter upgrade true || status=1
	calls_are "--no-reload disable --now $unit" "$format" exporter removal true || status=1
	for part in manager generator; do
		unit=estiba-$part.service
		[ "$part" = manager ] || unit=estiba-$part.timer
		calls_are "try-restart $unit" "$format" "$part" install || status=1
		calls_are "try-restart $unit" "$format" "$part" upgrade true || status=1
		calls_are "--no-reload disable --now $unit" "$format" "$part" removal true || status=1
	done
	[ "$format" != rpm ] || calls_are "" rpm exporter replaced true || status=1
	return $status
}

# For pacman the scripts are functions of bash, and DKMS comes with hooks.
install_file() {
	local package
	for package in $archlinux; do
		case $package in
		*estiba-dkms*) ! bsdtar -tf "$package" | grep -x .INSTALL || return 1 ;;
		*) bsdtar -xOf "$package" .INSTALL | bash -n || return 1 ;;
		esac
	done
}

# The man pages and completions are those of the programs as they are installed.
texts() {
	local part tree=$work/texts
	for part in exporter manager generator; do
		rm -rf "$tree"
		dpkg-deb -x "$packages/estiba-${part}"_*.deb "$tree" || return 1
		lexgrog "$tree/usr/share/man/man1/estiba-$part.1.gz" || return 1 # the line of apropos
		[ -z "$(man -l --warnings "$tree/usr/share/man/man1/estiba-$part.1.gz" 2>&1 >"$work/page")" ] || return 1
		bash -n "$tree/usr/share/bash-completion/completions/estiba-$part" || return 1
		grep -qx "#compdef estiba-$part" "$tree/usr/share/zsh/vendor-completions/_estiba-$part" &&
			grep -q "^complete -c estiba-$part " "$tree/usr/share/fish/vendor_completions.d/estiba-$part.fish" || return 1
		# The first word completes to a command.
		PATH=$tree/usr/bin:$PATH bash -c '. "$1" && COMP_WORDS=("$2" health) COMP_CWORD=1 && "_estiba_$3" && [ "${COMPREPLY[*]}" = healthcheck ]' \
			- "$tree/usr/share/bash-completion/completions/estiba-$part" "estiba-$part" "$part" || return 1
	done
}

test_formats() {
	local part
	try "man pages and completions" texts
	try "owners and modes in the packages" modes
	try "md5sums" md5sums
	for part in exporter manager generator dkms; do
		try "rpm: estiba-$part" rpm_part "$part" "$(echo "$packages/estiba-$part"-*.rpm)"
		try "archlinux: estiba-$part" archlinux_part "$part" "$(echo "$packages/estiba-$part"-*.pkg.tar.zst)"
	done
	try "rpm installs and removes them" installed_by_rpm
	try "maintainer scripts of rpm" scripts_of rpm
	try "maintainer scripts of pacman" scripts_of archlinux
	try "pacman's are functions" install_file
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
	# The programs out of the packages: nothing is compiled again.
	mkdir -p "$work/one/build/bin"
	for part in exporter manager generator; do
		dpkg-deb --fsys-tarfile "$packages/estiba-${part}_"*.deb | tar -x -O "./usr/bin/estiba-$part" >"$work/one/build/bin/$part"
	done
	chmod 755 "$work/one/build/bin"/* # they write their man pages themselves
	try "make install" installed_in "$tree"
	try "make install puts what the packages put" same_as_packages "$tree"
	echo "# mine" >>"$tree/etc/estiba/policy.yml"
	try "make install again" installed_in "$tree"
	try "it keeps a changed policy" keeps "$tree"
	try "make uninstall" removed_from "$tree"
	try "it leaves the changed policy and nothing else" only_mine "$tree"
	rm -rf "$tree"
}
