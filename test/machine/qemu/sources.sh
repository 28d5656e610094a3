#!/usr/bin/env bash
# sources.sh SUITE: prints apt sources for a Debian suite, one per line: those of this
# machine with the suite's name replaced. sid has no security suite.
set -euo pipefail
suite=$1
own=$(. /etc/os-release && echo "$VERSION_CODENAME")

{
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ -e "$file" ] || continue
		awk '$1 == "deb" {
			options = ""
			n = 2
			if ($2 ~ /^\[/) {
				while ($n !~ /\]$/) options = options " " $n++
				options = options " " $n++
			}
			line = ""
			for (i = n + 2; i <= NF && $i !~ /^#/; i++) line = line " " $i
			print "deb" options, $n, $(n + 1) line
		}' "$file"
	done
	for file in /etc/apt/sources.list.d/*.sources; do
		[ -e "$file" ] || continue
		# A stanza is a paragraph; indented lines continue the value of a key.
		awk 'function out(   i, j, uris, suites, options) {
				if (value["types"] ~ /(^| )deb( |$)/ && tolower(value["enabled"]) != "no") {
					options = value["signed-by"] ~ /^ *\// ? " [signed-by=" trim(value["signed-by"]) "]" : ""
					n = split(value["uris"], uris, " ")
					m = split(value["suites"], suites, " ")
					for (i = 1; i <= n; i++)
						for (j = 1; j <= m; j++)
							print "deb" options " " uris[i] " " suites[j] " " trim(value["components"])
				}
				delete value
			}
			function trim(s) { gsub(/^ +| +$/, "", s); return s }
			/^#/ { next }
			/^[ \t]*$/ { out(); next }
			/^[ \t]/ { sub(/^[ \t]+/, " "); value[key] = value[key] $0; next }
			{ key = tolower($0); sub(/:.*/, "", key); sub(/^[^:]*:[ \t]*/, ""); value[key] = $0 }
			END { out() }' "$file"
	done
} | awk -v own="$own" -v suite="$suite" '{
	n = 2
	if ($2 ~ /^\[/) { while ($n !~ /\]$/) n++; n++ }
	if ($(n + 1) == own) $(n + 1) = suite
	else if ($(n + 1) == own "-security" && suite != "sid") $(n + 1) = suite "-security"
	else next
	print
}' | grep . || {
	echo "sources.sh: apt has no sources for $own" >&2
	exit 1
}
