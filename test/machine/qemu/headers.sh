#!/usr/bin/env bash
# headers.sh [TREE…]: builds the module against headers of many kernels, under sparse and
# with warnings as errors. Prints one line per tree, the verdict last:
#
#   real       the kernels that kernel.sh downloads
#   emulated   headers of one of them, changed to match a distribution that is not
#              available here, another configuration, or a kernel built with clang;
#              headers/ has the changes and their sources
#   refused    headers for which the build must fail with our error message
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
cache=$top/build/cache/kernels
build=$top/build/qemu/headers
mkdir -p "$cache" "$build"
wanted=("$@")
# The script matches compiler messages. The kernel's Makefile unsets LC_ALL.
export LC_ALL=C LANG=C
passed=0 failed=0

sh "$here/install.sh" mmdebstrap debian-archive-keyring clang-16 lld-16 llvm-16

declare -A fetched
# kernel SUITE: sets $kernel to its directory.
kernel() {
	[ -n "${fetched[$1]:-}" ] || fetched[$1]=$(bash "$here/kernel.sh" "$1" "$cache")
	kernel=${fetched[$1]}
}

# wants TREE: is it one of the arguments? True without arguments.
declare -A known
wants() {
	local one
	known[$1]=yes
	[ ${#wanted[@]} -gt 0 ] || return 0
	for one in "${wanted[@]}"; do
		[ "$one" != "$1" ] || return 0
	done
	return 1
}

row() {
	printf '%-14s %-9s %-24s %s\n' "$@"
}
good() {
	passed=$((passed + 1))
	row "$@"
}
bad() {
	failed=$((failed + 1))
	row "$@"
}

# The compiler of a module, from its .comment section; and the member it uses.
compiler() {
	readelf -p .comment "$1" | grep -oE '(GCC|clang).*[0-9]+\.[0-9]+\.[0-9]+' | head -1 |
		sed -E 's/^GCC.* ([0-9.]+)$/gcc \1/; s/^clang version /clang /' || true
}
member() {
	grep -ohE 'ESTIBA_RSTAT_[A-Z_]*CPU' "$1/.estiba_cgroup.o.cmd" 2>/dev/null | sort -u | tr '\n' ' '
}

# builds TREE KIND KERNEL COMPILER [MEMBER]: the module builds with this compiler and
# reads the CPU time from this member.
builds() {
	local tree=$1 kind=$2 kernel=$3 by=$4 want=${5:-} to=$build/$1/module got
	rm -rf "$to"
	if ! bash "$here/module.sh" "$kernel" "$to" >"$build/$tree.log" 2>&1; then
		bad "$tree" "$kind" - "FAIL: the build failed ($build/$tree.log)"
		grep -E -m 8 'error|warning|module.sh' "$build/$tree.log" || tail -5 "$build/$tree.log"
		return
	fi
	got=$(compiler "$to/estiba.ko")
	case $got in
	"$by"*) ;;
	*)
		bad "$tree" "$kind" "${got:--}" "FAIL: not built with $by"
		return
		;;
	esac
	if [ -n "$want" ] && [ "$(member "$to")" != "$want " ]; then
		bad "$tree" "$kind" "$got" "FAIL: reads $(member "$to")instead of $want"
		return
	fi
	good "$tree" "$kind" "$got" "ok${want:+, $want}"
}

# refuses TREE KERNEL TEXT…: the build fails, with each TEXT in its output.
refuses() {
	local tree=$1 kernel=$2 to=$build/$1/module words
	shift 2
	rm -rf "$to"
	if bash "$here/module.sh" "$kernel" "$to" >"$build/$tree.log" 2>&1 || [ -e "$to/estiba.ko" ]; then
		bad "$tree" refused - "FAIL: the build succeeded"
		return
	fi
	for words; do
		if ! grep -qF "$words" "$build/$tree.log"; then
			bad "$tree" refused - "FAIL: no '$words' in the output ($build/$tree.log)"
			return
		fi
	done
	good "$tree" refused - "ok"
}

# emulate TREE SUITE [VERSION]: sets $emulated to a copy of the headers of SUITE with the
# version number VERSION, changed by headers/TREE.sed, if it exists: each command applies
# to the file named in the last "# in" line.
emulate() {
	local tree=$1 code file line
	kernel "$2"
	emulated=$build/$tree/kernel
	rm -rf "$emulated"
	mkdir -p "$emulated"
	# Hard links; edit replaces files.
	cp -al "$kernel/headers" "$emulated/headers"
	edit "$emulated/headers/build/Makefile" "s|$kernel/headers|$emulated/headers|"
	if [ -n "${3:-}" ]; then
		code=$(awk -F. '{print $1 * 65536 + $2 * 256}' <<<"$3")
		edit "$emulated/headers/build/include/generated/uapi/linux/version.h" \
			"s/LINUX_VERSION_CODE .*/LINUX_VERSION_CODE $code/"
	fi
	[ ! -e "$here/headers/$tree.sed" ] || while IFS= read -r line; do
		case $line in
		'# in '*) file=$(echo "$emulated"/headers/usr/src/linux-headers-*-common*)/${line#'# in '} ;;
		'#'* | '') ;;
		*) edit "$file" "$line" ;;
		esac
	done <"$here/headers/$tree.sed"
}

# edit FILE COMMAND: runs sed, and fails if nothing changes, as headers may differ one day.
edit() {
	sed "$2" "$1" >"$1.new"
	if cmp -s "$1" "$1.new"; then
		echo "headers.sh: $2 changes nothing in $1" >&2
		exit 1
	fi
	mv "$1.new" "$1"
}

# option NAME VALUE…: sets configuration options of the emulated kernel; n unsets one.
option() {
	local headers=$emulated/headers/build name value file
	while [ $# -gt 0 ]; do
		name=CONFIG_$1 value=$2
		shift 2
		for file in .config include/config/auto.conf include/generated/autoconf.h; do
			grep -vE "^(#define )?$name(_MODULE)?[ =]" "$headers/$file" >"$headers/$file.new"
			case $file:$value in
			*:n) ;;
			*.h:y) echo "#define $name 1" >>"$headers/$file.new" ;;
			*.h:*) echo "#define $name $value" >>"$headers/$file.new" ;;
			*auto.conf:*) echo "$name=$value" | tr -d '"' >>"$headers/$file.new" ;;
			*) echo "$name=$value" >>"$headers/$file.new" ;;
			esac
			mv "$headers/$file.new" "$headers/$file"
		done
	done
}

for suite in bullseye bookworm bookworm-6.12 bookworm-rt; do
	wants "$suite" || continue
	kernel "$suite"
	builds "$suite" real "$kernel" "gcc 12" ESTIBA_RSTAT_CPU
done
if wants sid; then
	kernel sid
	builds sid real "$kernel" gcc ESTIBA_RSTAT_BASE_CPU
fi

# Distributions.
if wants ubuntu-5.15; then
	emulate ubuntu-5.15 bullseye 5.15
	builds ubuntu-5.15 emulated "$emulated" "gcc 12" ESTIBA_RSTAT_CPU
fi
if wants ubuntu-6.8; then
	emulate ubuntu-6.8 bookworm-6.12 6.8
	builds ubuntu-6.8 emulated "$emulated" "gcc 12" ESTIBA_RSTAT_CPU
fi
if wants rhel-9; then
	emulate rhel-9 bookworm-6.12 5.14
	builds rhel-9 emulated "$emulated" "gcc 12" ESTIBA_RSTAT_CPU
fi
if wants psi-apart; then
	emulate psi-apart bullseye 5.14
	builds psi-apart emulated "$emulated" "gcc 12" ESTIBA_RSTAT_CPU
fi
if wants rstat-base; then
	emulate rstat-base bookworm-6.12
	builds rstat-base emulated "$emulated" "gcc 12" ESTIBA_RSTAT_BASE_CPU
fi

# Configurations; each option with those that depend on it.
memcg=(MEMCG n MEMCG_KMEM n MEMCG_SWAP n CGROUP_WRITEBACK n)
psi=(PSI n)
xacct=(TASK_XACCT n TASK_IO_ACCOUNTING n)
if wants no-memcg; then
	emulate no-memcg bookworm
	option "${memcg[@]}"
	builds no-memcg emulated "$emulated" "gcc 12" ESTIBA_RSTAT_CPU
fi
if wants no-psi; then
	emulate no-psi bookworm
	option "${psi[@]}"
	builds no-psi emulated "$emulated" "gcc 12" ESTIBA_RSTAT_CPU
fi
if wants no-xacct; then
	emulate no-xacct bookworm
	option "${xacct[@]}"
	builds no-xacct emulated "$emulated" "gcc 12" ESTIBA_RSTAT_CPU
fi
if wants bare; then
	emulate bare bullseye
	option "${memcg[@]}" "${psi[@]}" "${xacct[@]}" SWAP n
	builds bare emulated "$emulated" "gcc 12" ESTIBA_RSTAT_CPU
fi

# A kernel built with clang: the module's Makefile has to detect that from the headers,
# although Debian's name a gcc.
if wants clang; then
	emulate clang bookworm
	edit "$emulated/headers/build/.kernelvariables" '/^CC = /d'
	text=$(PATH=/usr/lib/llvm-16/bin:$PATH clang --version | head -1)
	option CC_VERSION_TEXT "\"$text\"" CC_IS_GCC n GCC_VERSION 0 CC_IS_CLANG y CLANG_VERSION 160006 \
		AS_IS_GNU n AS_IS_LLVM y LD_IS_BFD n LD_IS_LLD y LLD_VERSION 160006 \
		CC_IMPLICIT_FALLTHROUGH '"-Wimplicit-fallthrough"' \
		FTRACE_MCOUNT_USE_CC n FTRACE_MCOUNT_USE_OBJTOOL y \
		GCC_ASM_GOTO_OUTPUT_WORKAROUND n CC_NO_ARRAY_BOUNDS n
	PATH=/usr/lib/llvm-16/bin:$PATH builds clang emulated "$emulated" "clang 16" ESTIBA_RSTAT_CPU
fi

# The build must stop rather than guess.
stop='struct cgroup has CPU times'
if wants rstat-gone; then
	emulate rstat-gone bookworm-6.12
	refuses rstat-gone "$emulated" "$stop neither in rstat_cpu nor in rstat_base_cpu" "has no member named 'rstat_cpu'" \
		"has no member named 'rstat_base_cpu'"
fi
if wants rstat-both; then
	emulate rstat-both bookworm-6.12
	refuses rstat-both "$emulated" "$stop in rstat_cpu and in rstat_base_cpu"
fi
if wants broken; then
	emulate broken bookworm-6.12
	refuses broken "$emulated" "unknown type name 'no_type'"
fi
if wants too-old; then
	emulate too-old bullseye 5.9
	refuses too-old "$emulated" 'estiba needs Linux 5.10 or newer'
fi

for tree in "${wanted[@]}"; do
	[ -n "${known[$tree]:-}" ] || bad "$tree" - - "FAIL: unknown tree"
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
