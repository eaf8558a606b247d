#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Write the commits of build/linux back to the series.
set -eu
tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
# shellcheck source=tools/series/lib.sh
. "$tools/series/lib.sh"

usage() {
	cat <<USAGE
usage: $me [-n]

Writes each commit after the base in $linux to the directory of its
group, series/N-NAME, and the files that it adds to their places in the
repository, as the last commit leaves them. It removes patches and files that
the commits no longer have. It checks everything before it writes anything.

A line "Group: NAME" in the commit's message says to which group it belongs.
Without one it belongs to the group of the commit before it. To move a commit to
another group, move it there in the order of the commits and change that line.

  -n   write nothing; tell, by the exit status too, whether there is anything to write
USAGE
}

# The message must survive being written to a patch file and read back.
check_message() {
	kgit log -1 --format=%B "$1" >"$tmp/message"
	if grep -q -E '^(---$|Adds: )' "$tmp/message"; then
		die "$name: a line of the message is '---' or begins with 'Adds: '"
	fi
	# git's squash leaves the lines of both commits.
	[ "$(grep '^Group:' "$tmp/message" | LC_ALL=C sort -u | wc -l)" -le 1 ] ||
		die "$name: the message has more than one group"
}

# place COMMIT: set $dir to the directory of its group and $number to its place there.
# Both have those of the commit before it.
place() {
	before=$dir
	commit_is=$(kgit log -1 --format='%h (%s)' "$1")
	group=$(kgit log -1 --format=%B "$1" | sed -n -e 's/^Group: *//p' | head -n 1)
	if [ -n "$group" ]; then
		dir=$(group_dir "$group") ||
			die "$commit_is: Group: $group: there is no series/N-$group; groups: $(group_names)"
	elif [ -n "$dir" ]; then
		say "note: $commit_is: no Group: line, goes to $dir, like the commit before it"
	else
		die "$commit_is: no Group: line, and no commit before it; groups: $(group_names)"
	fi
	[ "$dir" = "$before" ] || number=0
	number=$((number + 1))
	[ -z "$before" ] || [ "${dir%%-*}" -ge "${before%%-*}" ] ||
		die "$commit_is: belongs to $dir but comes after a commit of $before: move it, or change its Group: line"
}

check_history() {
	[ -z "$(kgit rev-list --merges base..HEAD)" ] ||
		die "$linux: merges are no patches: rebase onto base"
	kgit merge-base --is-ancestor base HEAD ||
		die "$linux: HEAD does not descend from base"
	dirty=$(kgit status --porcelain | head -n 1)
	[ -z "$dirty" ] ||
		die "$linux: not committed: ${dirty#???}"
}

# hunks COMMIT: print the hunks in the form that every git writes. Index lines are left
# out: they change with each base and say nothing that the hunks don't.
hunks() {
	kgit diff-tree -p --no-color --no-ext-diff --no-textconv --no-renames \
		--diff-filter=a -U3 --diff-algorithm=myers --indent-heuristic \
		--src-prefix=a/ --dst-prefix=b/ "$1" |
		sed -e 1d -e '/^index [0-9a-f]*\.\.[0-9a-f]*/d'
}

# write_patch COMMIT: write one patch, and the files that it adds as the last commit
# leaves them, below $tmp/new.
write_patch() {
	place "$1"
	name=$(kgit log -1 --format=%f "$1" | cut -c 1-52)
	name=$dir/$(printf '%04d-%s.patch' "$number" "${name%[-.]}")
	check_message "$1"
	kgit diff-tree -r --no-commit-id --no-renames --name-only \
		--diff-filter=A "$1" >"$tmp/adds"
	cat "$tmp/adds" >>"$tmp/added"
	{
		kgit log -1 --format='From: %an <%ae>%nDate: %aD%nSubject: %s%n' "$1"
		kgit log -1 --format=%b "$1" | sed '/^Group:/d' | git stripspace >"$tmp/body"
		cat "$tmp/body"
		[ ! -s "$tmp/adds" ] || [ ! -s "$tmp/body" ] || echo
		sed 's/^/Adds: /' "$tmp/adds"
		echo ---
		hunks "$1"
	} >"$tmp/patch"
	mkdir -p "$tmp/new/series/$dir"
	mv "$tmp/patch" "$tmp/new/series/$name"
	while read -r path; do
		mkdir -p "$tmp/new/${path%/*}"
		kgit show "HEAD:$path" >"$tmp/new/$path"
		case $(kgit ls-tree HEAD "$path") in
		100755*) chmod +x "$tmp/new/$path" ;;
		esac
	done <"$tmp/adds"
}

# entry COMMIT PATH: print mode and blob of the path; for the repository, COMMIT is ".".
entry() {
	if [ "$1" != . ]; then
		kgit ls-tree "$1" "$2" | sed -n 's/^\([0-7]*\) blob \([0-9a-f]*\).*/\1 \2/p'
	elif [ -f "$top/$2" ]; then
		mode=100644
		[ ! -x "$top/$2" ] || mode=100755
		echo "$mode $(git hash-object --no-filters "$top/$2")"
	fi
}

# An edit made in the repository since the last make tree must not get lost: it stays if
# the commits leave the file alone, and is a conflict if they don't. This fills
# $tmp/take, $tmp/drop and $tmp/keep with paths.
sort_out() {
	: >"$tmp/take"; : >"$tmp/drop"; : >"$tmp/keep"
	: >"$tmp/was"
	[ -z "$known" ] || kgit diff-tree -r --no-renames --name-only \
		--diff-filter=A base "$known" >"$tmp/was"
	LC_ALL=C sort -u "$tmp/was" "$tmp/added" >"$tmp/paths"
	while read -r path; do
		here=$(entry . "$path") new=$(entry HEAD "$path") old=''
		[ -z "$known" ] || old=$(entry "$known" "$path")
		if [ "$here" = "$new" ]; then
			continue
		elif [ -n "$here" ] && [ "$here" != "$old" ] && [ -z "${FORCE:-}" ]; then
			[ "$new" = "$old" ] ||
				die "$path: changed here and in $linux: make the two the same, or FORCE=1 takes the latter"
			echo "$path" >>"$tmp/keep"
		elif [ -n "$new" ]; then
			echo "$path" >>"$tmp/take"
		else
			echo "$path" >>"$tmp/drop"
		fi
	done <"$tmp/paths"
}

# The same holds for the patches, all or nothing.
check_patches() {
	[ -z "${FORCE:-}" ] || return 0
	patch_sums >"$tmp/sums"
	[ ! -s "$tmp/sums" ] || cmp -s "$tmp/sums" "$linux/.git/composed.series" ||
		die "series/ has changed since the last make tree, and $linux has commits: FORCE=1 takes the latter"
}

write_all() {
	for p in $(patches); do
		[ -e "$tmp/new/${p#"$top"/}" ] || rm -f "$p"
	done
	for p in "$tmp"/new/series/*/*.patch; do
		[ -e "$p" ] || continue
		cmp -s "$p" "$top/${p#"$tmp"/new/}" || cp "$p" "$top/${p#"$tmp"/new/}"
	done
	while read -r path; do
		mkdir -p "$top/${path%/*}"
		cp "$tmp/new/$path" "$top/$path"
		chmod --reference="$tmp/new/$path" "$top/$path"
	done <"$tmp/take"
	while read -r path; do
		rm -f "$top/$path"
	done <"$tmp/drop"
}

# Succeeds if the tree has nothing that make tree would not make again.
only_look() {
	[ -e "$linux/.git" ] || exit 0
	load_state
	[ -n "$known" ] || known=$(kgit rev-parse base^0)
	[ "$(kgit rev-parse HEAD)" = "$known" ] ||
		die "$linux has commits that are not in the series"
	check_history
	exit 0
}

case ${1:-} in
-n) only_look ;;
-h | --help) usage; exit 0 ;;
'') ;;
*) usage >&2; exit 2 ;;
esac
[ -e "$linux/.git" ] || die "no $linux yet: make tree"
make_tmp
check_history
mkdir -p "$tmp/new/series"
: >"$tmp/added"
dir='' number=0 count=0
for commit in $(kgit rev-list --reverse base..HEAD); do
	write_patch "$commit"
	count=$((count + 1))
done

# The new patches must make the same tree again.
head=$(BUILD=$BUILD REPO=$tmp/new "$tools/series/compose.sh" -p) ||
	die "nothing written"
[ "$(kgit rev-parse "$head^{tree}")" = "$(kgit rev-parse 'HEAD^{tree}')" ] ||
	die "the patches would not make the tree of HEAD again: nothing written"

load_state
check_patches
sort_out
write_all
kgit reset -q --soft "$head"
if [ -s "$tmp/keep" ]; then
	# Without a hash, the next make tree composes again.
	save_state - "$head"
	say "note: edited in the repository, make tree takes it: $(tr '\n' ' ' <"$tmp/keep")"
else
	save_state "$(series_hash)" "$head"
fi
say "$count patches; $(wc -l <"$tmp/take") other files written, $(wc -l <"$tmp/drop") removed"
