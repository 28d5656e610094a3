# To be sourced. package_lists SUITE CACHE: reads the package lists of a Debian
# suite into CACHE, once a day, and sets the array apt to the options with which
# apt-get and apt-cache use them. The machine's own lists stay as they are: the
# suite may be another one, and they may be old. Who calls this has die.
package_lists() {
	local suite=$1 lists=$2/apt-$1 lock
	mkdir -p "$lists"
	exec {lock}>"$lists/lock"
	flock "$lock"
	mkdir -p "$lists/lists/partial" "$lists/archives/partial"
	bash "$(dirname "${BASH_SOURCE[0]}")/sources.sh" "$suite" >"$lists/sources.list"
	apt=(-o "Dir::Etc::sourcelist=$lists/sources.list" -o Dir::Etc::sourceparts=/dev/null
		-o "Dir::State::lists=$lists/lists" -o "Dir::Cache::archives=$lists/archives"
		-o "Dir::Cache::pkgcache=$lists/packages.bin" -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root)
	if [ -z "$(find "$lists/updated" -mmin -1440 2>/dev/null)" ] || ! cmp -s "$lists/sources.list" "$lists/sources.read"; then
		apt-get "${apt[@]}" -q update >"$lists/update.log" 2>&1 ||
			die "cannot read the package lists of $suite: $(tail -3 "$lists/update.log")"
		# To apt a list that it could not fetch is no more than a warning.
		if grep -E '^W: (Failed|Some index)' "$lists/update.log" >&2; then
			die "cannot read the package lists of $suite"
		fi
		cp "$lists/sources.list" "$lists/sources.read"
		touch "$lists/updated"
	fi
	exec {lock}>&-
}
