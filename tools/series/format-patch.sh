#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Write the series as one would mail it, a group at a time.
set -eu
tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
# shellcheck source=tools/series/lib.sh
. "$tools/series/lib.sh"

usage() {
	cat <<USAGE
usage: $me [group ...]

Writes the mails of each group (default: of all) to a directory of
$BUILD/patches, and checks that git am of them gives the series
again. The mails of a group are a cover letter, from series/N-GROUP/cover-letter.txt
(subject, blank line, text), and patches numbered within the group. Those of the
first group need no cover letter: they are mailed one by one then, without a
number, and git am has to take each by itself. Environment:

  SIGNOFF=1   add Signed-off-by: with your git identity
  SUBJECT_PREFIX=...  default: PATCH
  REROLL=N    version of the group (-v of git format-patch)
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

# format_threaded: write a cover letter and the commits from $start to $end. git folds
# and encodes the text of the cover letter if it is the description of a branch.
format_threaded() {
	kgit update-ref refs/heads/mail "$end"
	kgit -c branch.mail.description="$(cat "$cover")" format-patch "$@" \
		--thread=shallow --cover-letter --cover-from-description=subject \
		"$start..mail"
	kgit update-ref -d refs/heads/mail
}

# format_single: write each of these commits without a number. That git am takes it
# without those before it is checked, so nothing is a prerequisite.
format_single() {
	n=0
	for c in $(kgit rev-list --reverse "$start..$end"); do
		n=$((n + 1))
		kgit format-patch "$@" --no-thread --no-numbered --start-number="$n" -1 "$c"
	done
	sed -i '/^prerequisite-patch-id: /d' "$tmp"/mails/*.patch
}

# am MAIL...: apply them to $start in the second work tree.
am() {
	side_tree "$start"
	run "$BUILD/log/format-patch.log" "git am" git -C "$side/linux" \
		-c commit.gpgSign=false am --no-3way "$@"
}

check_mails() {
	# shellcheck disable=SC2046	# No blanks in the names.
	set -- $(find "$tmp/mails" -name '*.patch' ! -name '*0000-cover-letter.patch' |
		LC_ALL=C sort)
	log=$BUILD/log/format-patch.log
	if [ ! -s "$cover" ]; then
		for m; do
			am "$m" || die_with_log "$log" \
				"series/$dir has no cover-letter.txt, but git am does not take ${m##*/} by itself"
		done
	fi
	am "$@" || die_with_log "$log" "git am fails for $dir"
	for what in %T %s; do
		kgit log --format=$what "$start..$end" >"$tmp/want"
		git -C "$side/linux" log --format=$what "$start..HEAD" >"$tmp/got"
		cmp -s "$tmp/want" "$tmp/got" ||
			die "git am does not give $dir again (git log --format=$what differs)"
	done
}

# group_mails DIR: write and check the mails of a group.
group_mails() {
	dir=$1 cover=$top/series/$1/cover-letter.txt
	awk -v d="$dir" '$1 == d { print $2 }' "$tmp/commits" >"$tmp/group"
	[ -s "$tmp/group" ] || { say "note: $dir has no patches"; return 0; }
	start=$(kgit rev-parse "$(head -n 1 "$tmp/group")^")
	end=$(tail -n 1 "$tmp/group")
	rm -rf "$tmp/mails"
	set -- -q --base=base --no-renames --no-signature \
		--subject-prefix="${SUBJECT_PREFIX:-PATCH}" \
		${REROLL:+"-v$REROLL"} ${SIGNOFF:+-s} -o "$tmp/mails"
	if [ -s "$cover" ]; then
		format_threaded "$@"
	elif [ "$start" = "$(kgit rev-parse base^0)" ]; then
		format_single "$@"
	else
		die "series/$dir/cover-letter.txt: missing, only the first group can do without"
	fi
	check_mails
	mkdir -p "$BUILD/patches"
	rm -rf "$BUILD/patches/$dir"
	mv "$tmp/mails" "$BUILD/patches/$dir"
	say "$dir: $(wc -l <"$tmp/group") patches,$(kgit diff --shortstat "$start" "$end")"
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac
for group; do
	group_dir "$group" >/dev/null || die "no group $group, there are: $(group_names)"
done
"$tools/series/compose.sh"
head=$("$tools/series/compose.sh" -m)
[ "$(kgit rev-parse "$head^{tree}")" = "$(kgit rev-parse 'HEAD^{tree}')" ] ||
	die "$linux is not what the series makes it: make refresh first"
make_tmp
# The commits are in the order of the patches.
patches | sed 's|/[^/]*$||; s|.*/||' >"$tmp/dirs"
kgit rev-list --reverse "base..$head" | paste -d ' ' "$tmp/dirs" - >"$tmp/commits"
[ -s "$tmp/commits" ] || die "the series is empty"
identity
if [ $# = 0 ]; then
	rm -rf "$BUILD/patches"
	# shellcheck disable=SC2046	# A list.
	set -- $(group_names)
fi
for group; do
	group_mails "$(group_dir "$group")"
done
say "git am gives the same trees; the mails are in $BUILD/patches"
