# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034,SC2154	# $linux and more are from tools/lib.sh.
# Scripts that deal with the series and its base source this after tools/lib.sh.

# These directories of the repository have the kernel files that the series adds.
overlay_dirs='mm include lib fs Documentation tools/testing tools/mm'

base_version() {
	# shellcheck source=tools/series/base.version
	. "${BASE_VERSION:-$tools/series/base.version}"
}

# release TREE: print the version that its Makefile states.
release() {
	awk '$2 == "=" && $1 == "VERSION" { v = $3 }
	     $2 == "=" && $1 == "PATCHLEVEL" { p = $3 }
	     $2 == "=" && $1 == "SUBLEVEL" { s = $3 }
	     END { print v "." p "." s }' "$1/Makefile"
}

# kgit ARGUMENT...: run git in the kernel tree, whatever the user's configuration says
# about the look of diffs and messages.
kgit() {
	git -C "$linux" -c core.quotePath=false -c core.autocrlf=false \
		-c commit.gpgSign=false -c diff.noprefix=false \
		-c diff.mnemonicPrefix=false "$@"
}

# side_tree COMMIT: check the commit out in $side/linux, a second work tree for steps
# that must not disturb the first.
side=$BUILD/side
side_tree() {
	commit=$(kgit rev-parse -q --verify "$1^0") || die "$1: no commit of $linux"
	if [ ! -e "$side/linux/.git" ]; then
		rm -rf "$side/linux"
		mkdir -p "$side"
		say "a second work tree in $side/linux (20 s)"
		kgit worktree add -q -f --detach --no-checkout "$side/linux" "$commit"
	fi
	git -C "$side/linux" am --abort >/dev/null 2>&1 || :
	git -C "$side/linux" reset -q --hard "$commit"
	git -C "$side/linux" clean -q -fd
}

# Prints the files that the repository adds to the kernel, one a line.
overlay_files() (
	cd "$top" || exit
	dirs=''
	for d in $overlay_dirs; do
		[ ! -d "$d" ] || dirs="$dirs $d"
	done
	[ -n "$dirs" ] || exit 0
	# shellcheck disable=SC2086
	if [ "$(git rev-parse --show-toplevel 2>/dev/null)" = "$top" ]; then
		git -c core.quotePath=false ls-files -co --exclude-standard \
			-- $dirs | while read -r f; do
			[ ! -e "$f" ] || echo "$f"
		done
	else
		find $dirs -type f
	fi | LC_ALL=C sort -u
)

# The directories series/N-NAME are the groups, in the order in which they are mailed.
# This prints them without series/, one a line.
group_dirs() (
	cd "$top/series" 2>/dev/null || exit 0
	for d in [1-9]-*; do
		[ ! -d "$d" ] || echo "$d"
	done
)

# Prints the names of the groups on one line.
group_names() { group_dirs | cut -d - -f 2- | paste -s -d ' '; }

# group_dir NAME: print the directory of the group; fail if there is none.
group_dir() {
	for d in "$top"/series/[1-9]-"$1"; do
		[ -d "$d" ] || return 1
		echo "${d##*/}"
	done
}

# group_commits NAME: print the commits of the group, the first one first. compose.sh
# tells each commit its group by a line "Group: NAME".
group_commits() { kgit rev-list --reverse --grep="^Group: $1\$" base..HEAD; }

# Prints the patches in the order of the series, one a line.
patches() {
	for p in "$top"/series/[1-9]-*/[0-9]*.patch; do
		[ ! -e "$p" ] || echo "$p"
	done
}

# These print the parts of a patch file: its group, a field of the header, the message
# with its Adds: lines, the files that it adds, and the hunks.
patch_group() { basename "$(dirname "$1")" | cut -d - -f 2-; }
patch_header() { sed -n -e '/^$/q' -e "s/^$2: //p" "$1"; }
patch_body() { sed -e '1,/^$/d' -e '/^---$/,$d' "$1"; }
patch_adds() { patch_body "$1" | sed -n 's/^Adds: *//p'; }
patch_hunks() { sed '1,/^---$/d' "$1"; }

# Prints a hash that identifies the series and the overlay of the repository.
series_hash() (
	cd "$top" || exit
	{
		patch_sums
		overlay_files | while read -r f; do
			[ ! -x "$f" ] || echo x
			sha256sum "$f"
		done
		git -C "$linux" rev-parse base
	} | sha256sum | cut -d ' ' -f 1
)

# The tree keeps what was composed last: the hash of its sources, the commit, and the
# sums of the patches.
load_state() {
	was='' known=''
	[ ! -e "$linux/.git/composed" ] ||
		read -r was known <"$linux/.git/composed"
}

save_state() {
	patch_sums >"$linux/.git/composed.series"
	echo "$1 $2" >"$linux/.git/composed"
}

patch_sums() (
	cd "$top" || exit
	for p in $(patches); do
		sha256sum "${p#"$top"/}"
	done
)
