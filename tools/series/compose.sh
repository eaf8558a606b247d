#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Compose the kernel tree: the base, and on it the series as commits.
set -eu
tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
# shellcheck source=tools/series/lib.sh
. "$tools/series/lib.sh"

usage() {
	cat <<USAGE
usage: $me [-p | -m]

Makes commits of series/*/*.patch and of the files in $top that they add,
and checks them out in $linux. It writes only files that differ, so that
the next build is short, and does nothing when the series has not changed.
FORCE=1 discards whatever is in $linux but not in the series.

The last line of a commit's message, "Group: NAME", says which directory
series/N-NAME has the patch.

  -p   print the id of the last commit, leave the work tree alone
  -m   the same, but make the commits as they are mailed: without Group: lines
USAGE
}

# check_patch PATCH: refuse a file that is no patch of this series. Note the files that
# it adds in $tmp/adds and those that it changes in $tmp/touched, each with the patch.
check_patch() {
	p=$1
	case ${p##*/} in
	[0-9][0-9][0-9][0-9]-*.patch) ;;
	*) die "$p: not named NNNN-subject.patch" ;;
	esac
	if patch_body "$p" | grep -q '^Group:'; then
		die "$p: a line begins with Group:, but its directory says that"
	fi
	for field in From Date Subject; do
		[ -n "$(patch_header "$p" $field)" ] || die "$p: no $field: line"
	done
	patch_header "$p" From | grep -q '^..* <[^<>]*>$' ||
		die "$p: From: is not 'name <mail>'"
	patch_adds "$p" | sed "s|\$| $p|" >>"$tmp/adds"
	patch_hunks "$p" >"$tmp/hunks"
	bad=$(grep -n -m 1 -E '^(new file mode|rename |copy |GIT binary patch)' \
		"$tmp/hunks" | cut -d : -f 2) || :
	[ -z "$bad" ] ||
		die "$p: '$bad': a new file lives in the repository and is named by an Adds: line"
	[ -s "$tmp/hunks" ] || return 0
	git apply --numstat "$tmp/hunks" >"$tmp/numstat" 2>"$tmp/err" ||
		die "$p: not a patch: $(head -n 1 "$tmp/err")"
	cut -f 3 "$tmp/numstat" | sed "s|\$| $p|" >>"$tmp/touched"
}

in_overlay() {
	for d in $overlay_dirs; do
		case $1 in "$d"/*) return 0 ;; esac
	done
	return 1
}

# A path has one owner: the overlay (one Adds: line, and hunks of later patches) or the
# base (hunks).
check_owners() {
	while read -r path patch; do
		in_overlay "$path" ||
			die "$patch: Adds: $path: not below $overlay_dirs"
		[ -f "$top/$path" ] || die "$patch: Adds: $path: no such file"
		if kgit cat-file -e "base:$path" 2>/dev/null; then
			die "$patch: Adds: $path: the kernel has a file of that name"
		fi
	done <"$tmp/adds"
	cut -d ' ' -f 1 "$tmp/adds" | LC_ALL=C sort >"$tmp/added"
	twice=$(uniq -d "$tmp/added" | head -n 1)
	[ -z "$twice" ] || die "$twice: named by more than one Adds: line"
	# Files that git ignores there are made by a build. Dot files are not checked:
	# Debian's base lacks the exceptions for them that mainline has.
	ignored=$(grep -v '/\.[^/]*$' "$tmp/added" |
		kgit -c core.excludesFile=/dev/null check-ignore --no-index --stdin |
		head -n 1) || :
	[ -z "$ignored" ] || die "$ignored: ignored by the kernel's .gitignore, not a source"
	overlay_files >"$tmp/overlay"
	orphan=$(LC_ALL=C comm -23 "$tmp/overlay" "$tmp/added" | head -n 1)
	[ -z "$orphan" ] || die "$orphan: no patch of the series brings it (Adds: $orphan)"
	# Both lists are in the order of the series.
	early=$(awk 'NR == FNR { by[$1] = $2; next }
		$1 in by && $2 <= by[$1] { print $2 ": changes " $1 ", added by " by[$1]; exit }' \
		"$tmp/adds" "$tmp/touched")
	[ -z "$early" ] || die "$early"
}

# Each group has a number and a name of its own, and each patch is in a group.
check_groups() {
	[ -d "$top/series" ] || return 0
	stray=$(cd "$top/series" && find . -name '*.patch' \
		! -path './[1-9]-[a-z]*/*.patch' | head -n 1)
	[ -z "$stray" ] ||
		die "$top/series/${stray#./}: not in a group's directory, series/N-NAME"
	for part in 1 2-; do
		twice=$(group_dirs | cut -d - -f "$part" | LC_ALL=C sort | uniq -d | head -n 1)
		[ -z "$twice" ] || die "$top/series: two groups are $twice"
	done
}

check_series() {
	: >"$tmp/adds"
	: >"$tmp/touched"
	check_groups
	for p in $(patches); do
		check_patch "$p"
	done
	check_owners
}

# blame PATCH: say which hunk git apply stumbled over. git names file:line of its old
# side.
blame() {
	at=$(sed -n 's/^error: patch failed: //p' "$tmp/err" | head -n 1)
	[ -n "$at" ] || die "$1: $(sed -n 's/^error: //p' "$tmp/err" | head -n 1)"
	hunk=$(awk -v f="${at%:*}" -v l="${at##*:}" '
		/^--- a\// { in_file = substr($0, 7) == f }
		in_file && /^@@ / && index($2, "-" l) == 1 &&
			$2 ~ "^-" l "(,|$)" { print; exit }' "$tmp/hunks")
	die "$1 does not apply: ${at%:*}, hunk ${hunk:-at line ${at##*:}}"
}

# add_file PATH: put the repository's file into the index, without the changes that
# later patches make to it.
add_file() {
	mode=100644
	[ ! -x "$top/$1" ] || mode=100755
	blob=$(kgit hash-object -w --no-filters "$top/$1")
	kgit update-index --add --cacheinfo "$mode,$blob,$1"
	awk -v path="$1" '$1 == path { print $2 }' "$tmp/touched" | tac >"$tmp/later"
	while read -r later; do
		patch_hunks "$later" >"$tmp/undo"
		kgit apply --cached -R --whitespace=nowarn --include="$1" "$tmp/undo" \
			2>"$tmp/err" ||
			die "$later: not in $1, as it is now: $(sed -n 's/^error: //p' "$tmp/err" | head -n 1)"
	done <"$tmp/later"
}

# commit PATCH PARENT: commit the index and print the commit's id.
commit() {
	from=$(patch_header "$1" From)
	GIT_AUTHOR_NAME=${from% <*}
	GIT_AUTHOR_EMAIL=${from##*<}
	GIT_AUTHOR_EMAIL=${GIT_AUTHOR_EMAIL%>}
	GIT_AUTHOR_DATE=$(patch_header "$1" Date)
	GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME
	GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
	GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE
	export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE
	export GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL GIT_COMMITTER_DATE
	{
		patch_header "$1" Subject
		echo
		patch_body "$1" | sed '/^Adds: /d'
		[ -n "$mail" ] || printf '\nGroup: %s\n' "$(patch_group "$1")"
	} | git stripspace >"$tmp/message"
	kgit commit-tree -p "$2" -F "$tmp/message" "$(kgit write-tree)"
}

# Sets $head to the last commit of the series. It uses an index of its own and touches
# no work tree.
compose() {
	GIT_INDEX_FILE=$tmp/index
	export GIT_INDEX_FILE
	kgit read-tree base
	head=$(kgit rev-parse base^0)
	count=0
	for p in $(patches); do
		patch_hunks "$p" >"$tmp/hunks"
		if [ -s "$tmp/hunks" ]; then
			kgit apply --cached --whitespace=nowarn "$tmp/hunks" \
				2>"$tmp/err" || blame "$p"
		fi
		patch_adds "$p" >"$tmp/list"
		while read -r path; do
			add_file "$path"
		done <"$tmp/list"
		head=$(commit "$p" "$head")
		count=$((count + 1))
	done
	unset GIT_INDEX_FILE
}

# The tree must not have anything that would be lost.
check_tree() {
	[ -z "${FORCE:-}" ] || return 0
	hint='make refresh writes commits back, FORCE=1 discards'
	now=$(kgit rev-parse HEAD)
	if [ "$now" != "$known" ] && [ "$now" != "$(kgit rev-parse base^0)" ]; then
		die "$linux has commits of its own and the series has changed too: $hint"
	fi
	dirty=$(kgit status --porcelain -uno | head -n 1)
	[ -z "$dirty" ] ||
		die "$linux has uncommitted changes (${dirty#???}) and the series has changed: commit, then $hint"
}

print='' mail=''
case ${1:-} in
-p) print=1 ;;
-m) print=1 mail=1 ;;
-h | --help) usage; exit 0 ;;
'') ;;
*) usage >&2; exit 2 ;;
esac

"$tools/series/base.sh"
make_tmp
if [ -n "$print" ]; then
	check_series
	compose
	echo "$head"
	exit 0
fi

hash=$(series_hash)
load_state
if [ "$hash" = "$was" ] && [ -z "${FORCE:-}" ]; then
	[ "$(kgit rev-parse HEAD)" = "$known" ] ||
		say "note: $linux is not what the series makes it; make refresh writes commits back"
	exit 0
fi
check_tree
check_series
compose
if [ -n "${FORCE:-}" ]; then
	kgit reset -q --hard "$head"
else
	kgit reset -q --keep "$head"
fi
save_state "$hash" "$head"
say "$count commits on Linux $(release "$linux"), $(echo "$head" | cut -c 1-12) in $linux"
