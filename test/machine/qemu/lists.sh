# shellcheck shell=bash
# To be sourced. package_lists SUITE CACHE [ARCHITECTURE]: downloads the package lists of
# a Debian suite to CACHE, once a day, and sets the array apt to the options with which
# apt-get and apt-cache use them. It does not change the machine's own lists, which may be
# old or of another suite. With ARCHITECTURE, packages are for that one; this machine's
# need full names (package:amd64). The caller defines die.
package_lists() {
	local suite=$1 lists=$2/apt-$1${3:+-$3} lock
	mkdir -p "$lists"
	exec {lock}>"$lists/lock"
	flock "$lock"
	mkdir -p "$lists/lists/partial" "$lists/archives/partial"
	bash "$(dirname "${BASH_SOURCE[0]}")/sources.sh" "$suite" >"$lists/sources.list"
	apt=(-o "Dir::Etc::sourcelist=$lists/sources.list" -o Dir::Etc::sourceparts=/dev/null
		-o "Dir::State::lists=$lists/lists" -o "Dir::Cache::archives=$lists/archives"
		-o "Dir::Cache::pkgcache=$lists/packages.bin" -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root)
	[ -z "${3:-}" ] || apt+=(-o "APT::Architecture=$3" -o "APT::Architectures=$3,$(dpkg --print-architecture)")
	if [ -z "$(find "$lists/updated" -mmin -1440 2>/dev/null)" ] || ! cmp -s "$lists/sources.list" "$lists/sources.read"; then
		apt-get "${apt[@]}" -q update >"$lists/update.log" 2>&1 ||
			die "updating the package lists of $suite failed: $(tail -3 "$lists/update.log")"
		# apt only warns about a list that it could not download.
		if grep -E '^W: (Failed|Some index)' "$lists/update.log" >&2; then
			die "updating the package lists of $suite failed"
		fi
		cp "$lists/sources.list" "$lists/sources.read"
		touch "$lists/updated"
	fi
	exec {lock}>&-
}
