#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Write the series as one would mail it.
set -eu
tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
# shellcheck source=tools/series/lib.sh
. "$tools/series/lib.sh"

usage() {
	cat <<USAGE
usage: $me

Writes a cover letter (series/cover-letter.txt: subject, blank line, text) and
the patches to $BUILD/patches, and checks that git am of them
on the base gives the series again. Environment:

  SIGNOFF=1   add Signed-off-by: with your git identity
  SUBJECT_PREFIX=...  default: PATCH
  REROLL=N    version of the series (-v of git format-patch)
USAGE
}

identity() {
	if [ -n "${SIGNOFF:-}" ]; then
		name=$(kgit config user.name) || name=''
		mail=$(kgit config user.email) || mail=''
		case $name/$mail in
		/* | */) die "SIGNOFF=1: git does not know you: git config --global user.name, user.email" ;;
		esac
		say "signing off as $name <$mail>"
	else
		# git needs these for the message ids; they appear nowhere else.
		name=$(kgit log -1 --format=%an)
		mail=$(kgit log -1 --format=%ae)
	fi
	export GIT_COMMITTER_NAME="$name" GIT_COMMITTER_EMAIL="$mail"
}

# format DIR: the text of the cover letter is passed as the branch's description, which
# git folds and encodes.
format() {
	cover=$top/series/cover-letter.txt
	set -- -q --base=base --thread=shallow --cover-letter \
		--cover-from-description=subject --no-renames --no-signature \
		--subject-prefix="${SUBJECT_PREFIX:-PATCH}" \
		${REROLL:+"-v$REROLL"} ${SIGNOFF:+-s} -o "$1" base..series
	if [ -s "$cover" ]; then
		kgit -c branch.series.description="$(cat "$cover")" \
			format-patch "$@"
	else
		say "note: no series/cover-letter.txt, the cover letter has blanks to fill"
		kgit format-patch "$@"
	fi
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac
"$tools/series/compose.sh"
[ "$(kgit symbolic-ref -q --short HEAD)" = series ] ||
	die "$linux is not on branch series"
count=$(kgit rev-list --count base..series)
[ "$count" -gt 0 ] || die "the series is empty"
make_tmp
identity
mkdir "$tmp/patches"
format "$tmp/patches" || die "git format-patch failed"
find "$tmp/patches" -name '*.patch' ! -name '*0000-cover-letter.patch' |
	LC_ALL=C sort >"$tmp/list"

say "git am of $count patches on the base"
side_tree base
log=$BUILD/log/format-patch.log
# shellcheck disable=SC2046	# No blanks in the names.
run "$log" "git am" git -C "$side/linux" -c commit.gpgSign=false \
	am --no-3way $(cat "$tmp/list") ||
	die_with_log "$log" "git am fails on the base"
for what in %T %s; do
	kgit log --format=$what base..series >"$tmp/want"
	git -C "$side/linux" log --format=$what base..HEAD >"$tmp/got"
	cmp -s "$tmp/want" "$tmp/got" ||
		die "git am does not give the series again (git log --format=$what differs)"
done

rm -rf "$BUILD/patches"
mv "$tmp/patches" "$BUILD/patches"
say "$count patches and a cover letter in $BUILD/patches; git am gives the same trees"
kgit diff --shortstat base series
