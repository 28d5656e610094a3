# shellcheck shell=bash
# To be sourced, in the repository's root. What `files` says, read.

fail() {
	echo "${0##*/}: $*" >&2
	exit 1
}

module_version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"$/\1/p' kmod/dkms.conf)

# Where the programs are, and their man pages and completions.
programs=build/bin
texts=build/texts

# make_texts FOLDER PART…: the texts of the parts, by programs in FOLDER that this host
# can run. They name the program as it is installed.
make_texts() {
	local from=$1 part called
	shift
	called=$(mktemp -d)
	mkdir -p "$texts"
	for part in "$@"; do
		ln -s "$(realpath "$from/$part")" "$called/estiba-$part"
		"$called/estiba-$part" --help-man | gzip -9n >"$texts/estiba-$part.1.gz"
		"$called/estiba-$part" --completion-script-bash >"$texts/estiba-$part.bash"
		"$called/estiba-$part" --completion-script-zsh >"$texts/estiba-$part.zsh"
		"$called/estiba-$part" --completion-script-fish >"$texts/estiba-$part.fish"
	done
	rm -r "$called"
}

# files PREFIX PART…: prints a line for each file of the parts: mode, where to,
# what. A pattern without a match is an error.
files() {
	local prefix=$1 part mode to from file
	shift
	while read -r part mode to from; do
		[[ " $* " == *" $part "* ]] || continue
		to=${to//@part@/$part}
		to=${to//@module@/$module_version}
		from=${from//build\/bin/$programs}
		from=${from//build\/texts/$texts}
		[ "${to#/}" != "$to" ] || to=$prefix/$to
		# The patterns of `from` are meant to be expanded.
		# shellcheck disable=SC2086
		for file in $from; do
			[ -f "$file" ] || fail "$file is not there (make build makes the programs)"
			if [ "${to%/}" != "$to" ]; then echo "$mode $to${file##*/} $file"; else echo "$mode $to $file"; fi
		done
	done < <(grep -v '^#' tools/packages/files | grep .)
}

# put ROOT PREFIX MODE TO FROM: one file, with the folders above it.
put() {
	local root=$1 prefix=$2 mode=$3 to=$4 from=$5
	install -d -m 755 "$root${to%/*}"
	case $to in
	# Units name the program and its documentation.
	*.service) sed "s#/usr/\(bin\|share/doc\)/estiba#$prefix/\1/estiba#g" "$from" | install -m "$mode" /dev/stdin "$root$to" ;;
	*) install -m "$mode" "$from" "$root$to" ;;
	esac
}
