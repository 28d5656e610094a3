#!/usr/bin/env bash
# run.sh: makes a release twice, of one commit, in folders of other names and depths,
# with another umask, time zone and language, once with Git and once without, and
# looks at every file in it. It leaves the first in build/release-test.
#
# As root on Debian or Ubuntu, with a Docker Engine: the images are loaded into it, and
# removed again.
set -euo pipefail
cd "$(dirname "$0")/../../.."
top=$PWD
if [ -z "${ESTIBA_RELEASE_INSIDE:-}" ]; then
	engine=docker.io
	! command -v dockerd >/dev/null || engine=
	# shellcheck disable=SC2086
	test/install.sh $engine git make curl podman rpm libarchive-tools zstd qemu-user-static
	ESTIBA_RELEASE_INSIDE=1 exec test/with-docker.sh "$top/test/system/release/run.sh" "$@"
fi
# shellcheck source=../../../tools/go.sh
. tools/go.sh
# What `make test-release` was called with is not meant for the builds.
unset MAKEFLAGS MAKELEVEL VERSION REVISION SOURCE_DATE_EPOCH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
version=$(cat VERSION)
die() {
	printf '%4d s  FAIL: %s\n' "$SECONDS" "$*"
	exit 1
}

# sources FOLDER: the working tree as it is now, without Git.
sources() {
	mkdir -p "$1"
	git ls-files -z -co --exclude-standard | { while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done; } |
		tar -c --null -T - | tar -x -C "$1"
}

# refused WHAT WORD COMMAND…: that it fails with a message that has the word, at once.
refused() {
	local what=$1 word=$2
	shift 2
	if (cd "$work/one" && "$@") >"$work/said" 2>&1; then die "$what was not refused"; fi
	grep -q -- "$word" "$work/said" || die "$what: want a message with \"$word\": $(cat "$work/said")"
	printf '%4d s  ok: refused: %s\n' "$SECONDS" "$what"
}

# One is a clone with a commit of its own of what is here; it is what a person has.
git clone --quiet --no-local "$top" "$work/one"
find "$work/one" -mindepth 1 -maxdepth 1 ! -name .git -exec rm -rf {} +
sources "$work/one"
# Both copies at once: others may go on editing. Two has a space in its path, no Git,
# and files that only root may read.
(
	umask 077
	sources "$work/a folder/deeper/two"
)
git -C "$work/one" add -A
git -C "$work/one" -c user.name=test -c user.email=test@localhost commit --quiet --allow-empty -m "what is tested"
commit=$(git -C "$work/one" rev-parse HEAD) epoch=$(git -C "$work/one" log -1 --format=%ct)

refused "no version" 'want MAJOR.MINOR.PATCH' make -s release
refused "a version with more than numbers" 'want MAJOR.MINOR.PATCH' make -s release VERSION="v$version"
refused "a version that the sources do not have" 'the file VERSION has' make -s release VERSION=99.0.0
echo >>"$work/one/README.md"
refused "a change that no commit has" 'no commit has: M README.md' make -s release VERSION="$version"
git -C "$work/one" checkout --quiet README.md
sed -i "s|^## $version / .*|## Unreleased|" "$work/one/CHANGELOG.md"
refused "a changelog without the version" 'CHANGELOG.md has no part' make -s release VERSION="$version"
git -C "$work/one" checkout --quiet CHANGELOG.md
git -C "$work/one" tag "v$version" "HEAD~1"
refused "a tag at another commit" 'is another commit' make -s release VERSION="$version"
git -C "$work/one" tag -d "v$version" >/dev/null
refused "a commit of no known name" 'want a commit' make -s release VERSION="$version" REVISION=unknown SOURCE_DATE_EPOCH=1

make -s -C "$work/one" release VERSION="$version" || die "the first build"
# Two is somebody else's, later, elsewhere.
(
	umask 077
	TZ=Asia/Kathmandu LC_ALL=C.UTF-8 LANG=C.UTF-8 make -s -C "$work/a folder/deeper/two" release \
		VERSION="$version" REVISION="$commit" SOURCE_DATE_EPOCH="$epoch"
) || die "the second build"

rm -rf build/release-test
mkdir -p build
cp -r "$work/one/build/release/$version" build/release-test
cd test/system/release
go test -count=1 -v -timeout 10m . -args -sources="$work/one" -release="$work/one/build/release/$version" \
	-again="$work/a folder/deeper/two/build/release/$version" -version="$version" -revision="$commit" -epoch="$epoch"
printf '%4d s  all passed\n' "$SECONDS"
