#!/bin/sh
# Finds Go, for everything in this repository that needs it:
#
#   tools/go.sh build ./exporter   runs go (so does the Makefile)
#   . tools/go.sh                  puts Go in front of PATH (so do the scripts)
#
# The PATH of sudo and cron has no Go that was unpacked from its own site, so it is
# also searched for where it is installed. The first that is new enough is taken: 1.21
# and newer download the version that go.mod names. GO=/path/to/go chooses one instead.

go_at=${ESTIBA_ROOT:-} # tests have a root folder of their own

# go_programs prints the programs to try, one a line, best first.
go_programs() {
	command -v go || true
	echo "$go_at/usr/local/go/bin/go"
	# Debian and Ubuntu install golang-1.24-go here, the newest is tried first.
	printf '%s\n' "$go_at"/usr/lib/go-*/bin/go | sort -V -r
	echo "$go_at/usr/lib/golang/bin/go" # Fedora and its relatives
	echo "$go_at/snap/bin/go"
	# What the caller of sudo has for himself: golang.org/dl unpacks to ~/sdk.
	if [ -n "${SUDO_USER:-}" ]; then
		go_home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
		printf '%s\n' "$go_home"/sdk/go*/bin/go | sort -V -r
		echo "$go_home/go/bin/go"
	fi
}

# go_version prints the version of program $1 itself, as 1.24.4, not that of the
# toolchain it would download.
go_version() { GOTOOLCHAIN=local "$1" version 2>/dev/null | sed -n 's/^go version go\([0-9.]*\).*/\1/p'; }

go_new_enough() { [ -n "$1" ] && [ "$(printf '%s\n' 1.21 "$1" | sort -V | head -n 1)" = 1.21 ]; }

# go_advice prints what to type on this distribution.
go_advice() {
	# shellcheck source=/dev/null
	case $(. "$go_at/etc/os-release" 2>/dev/null && echo "$ID-${VERSION_ID:-}") in
	debian-12)
		# Its own Go is 1.19. The site is that from which apt gets the rest.
		cat <<'END'
type: echo "deb $(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Codename: bookworm' | head -n 1) bookworm-backports main" | sudo tee /etc/apt/sources.list.d/backports.list && sudo apt-get update && sudo apt-get install -t bookworm-backports golang-go
END
		;;
	debian-1[3-9] | debian- | ubuntu-2[4-9].*) echo "type: sudo apt-get install golang-go" ;;
	ubuntu-22.04) echo "type: sudo apt-get install golang-1.23-go" ;;
	fedora-* | rhel-* | centos-* | rocky-* | almalinux-*) echo "type: sudo dnf install golang" ;;
	arch-*) echo "type: sudo pacman -S go" ;;
	*) echo "get it from https://go.dev/dl and unpack it to /usr/local/go" ;;
	esac
}

# go_find prints the path of Go; if there is none, one sentence says what to do.
go_find() {
	if [ -n "${GO:-}" ]; then
		go_found=$(go_version "$GO")
		if go_new_enough "$go_found"; then
			command -v "$GO"
			return
		fi
		echo "GO=$GO is Go ${go_found:-of no known version}, and 1.21 or newer is needed: name another, or none" >&2
		return 1
	fi
	go_old=
	while read -r go_program; do
		if [ -d "$go_program" ] || ! [ -x "$go_program" ]; then continue; fi
		go_found=$(go_version "$go_program")
		if go_new_enough "$go_found"; then
			echo "$go_program"
			return
		fi
		go_old=${go_old:-"$go_program is Go ${go_found:-of no known version}, and 1.21 or newer is needed"}
	done <<END
$(go_programs)
END
	echo "${go_old:-Go is not installed}; $(go_advice)" >&2
	return 1
}

go_program=$(go_find) || exit 1
# The folder of Go alone: /snap/bin and /usr/bin hold other programs, too.
go_root=$(GOTOOLCHAIN=local "$go_program" env GOROOT)
PATH=$go_root/bin:$PATH
GOTOOLCHAIN=${GOTOOLCHAIN:-auto}
export PATH GOTOOLCHAIN
# sudo may keep HOME. Files of root in the caller's caches would stop his own builds.
if [ -n "${SUDO_UID:-}" ] && [ "$(id -u)" -eq 0 ] && [ "$(stat -c %u "${HOME:-/}")" -ne 0 ]; then
	HOME=$(getent passwd 0 | cut -d: -f6)
	export HOME
fi
case ${0##*/} in
go.sh) exec go "$@" ;;
esac
