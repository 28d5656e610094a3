#!/usr/bin/env bash
# style.sh SOURCE: the kernel's own coding style, by the checkpatch.pl of the
# kernel source in SOURCE, on all C files of the module.
#
# Not asked for:
#   LINUX_VERSION_CODE, CONSTANT_COMPARISON, NEW_TYPEDEFS   in compat.h: it compares versions, both in
#       capitals, and gives one name to a type that kernels call differently
#   SPLIT_STRING, MISSING_SPACE   in json_writer: a table of digits, no message
#   PREFER_DEFINED_ATTRIBUTE_MACRO   there: it builds in user space, too, where
#       the kernel's macros are not
#   COMPLEX_MACRO   there: a literal and its length are two arguments, so they
#       cannot stand in parentheses
set -euo pipefail
source=$1
kmod=$(cd "$(dirname "$0")/../../kmod" && pwd)
cd "$kmod"
check() {
	perl "$source/scripts/checkpatch.pl" --no-tree --file --terse --no-summary --show-types "$@"
}
check --ignore LINUX_VERSION_CODE,CONSTANT_COMPARISON,NEW_TYPEDEFS ./compat.h
check --ignore SPLIT_STRING,MISSING_SPACE,PREFER_DEFINED_ATTRIBUTE_MACRO,COMPLEX_MACRO ./json_writer.[ch]
for file in ./*.[ch]; do
	case $file in
	./compat.h | ./json_writer.[ch]) ;;
	*) check "$file" ;;
	esac
done
echo "checkpatch: $(ls ./*.[ch] | wc -l) files clean"
