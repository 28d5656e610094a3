#!/usr/bin/env bash
# style.sh SOURCE: runs checkpatch.pl of the kernel source in SOURCE on all C files of
# the module.
#
# Ignored:
#   LINUX_VERSION_CODE, CONSTANT_COMPARISON, NEW_TYPEDEFS   in compat.h, which compares
#       versions and gives one name to a type whose name differs between kernels
#   SPACING   there: checkpatch takes the colon after a type in _Generic for that of ?:
#   SPLIT_STRING, MISSING_SPACE   in json_writer: a table of digits, not a message
#   PREFER_DEFINED_ATTRIBUTE_MACRO   there: it also builds in user space, without the
#       kernel's macros
#   COMPLEX_MACRO   there: a literal and its length are two arguments, so they cannot be
#       in parentheses
set -euo pipefail
source=$1
kmod=$(cd "$(dirname "$0")/../../../kmod" && pwd)
cd "$kmod"
check() {
	perl "$source/scripts/checkpatch.pl" --no-tree --file --terse --no-summary --show-types "$@"
}
check --ignore LINUX_VERSION_CODE,CONSTANT_COMPARISON,NEW_TYPEDEFS,SPACING ./compat.h
check --ignore SPLIT_STRING,MISSING_SPACE,PREFER_DEFINED_ATTRIBUTE_MACRO,COMPLEX_MACRO ./json_writer.[ch]
for file in ./*.[ch]; do
	case $file in
	./compat.h | ./json_writer.[ch]) ;;
	*) check "$file" ;;
	esac
done
set -- ./*.[ch]
echo "checkpatch: $# files clean"
