#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Test the scripts that make the series, on a kernel of six files.
#
# A failure means: a developer loses work, or builds or mails something else than the
# series.
# shellcheck disable=SC2317	# The tests are called by name.
set -eu
tools=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
# shellcheck source=tools/series/lib.sh
. "$tools/series/lib.sh"

usage() {
	cat <<USAGE
usage: $me [test ...]

Prints KTAP. The exit status is 1 when a test failed.
USAGE
}

tests='
	truncated_tarball_is_refused_in_one_line
	absent_tarball_is_refused_in_one_line
	other_version_is_refused_in_one_line
	other_release_of_the_series_is_accepted
	shared_tarball_must_have_the_known_sum
	mirrors_come_from_apt_sources
	package_is_fetched_from_the_mirror
	kernel_org_is_tried_last_and_its_sum_checked
	nothing_to_be_had_is_told_in_the_end
	ignored_by_debian_is_not_ignored_here
	compose_twice_gives_the_same_commit
	compose_writes_only_what_differs
	misapplied_patch_is_named_with_file_and_hunk
	fuzz_is_refused
	overlay_file_without_patch_is_refused
	overlay_file_of_two_patches_is_refused
	overlay_file_that_the_kernel_ignores_is_refused
	overlay_file_is_changed_by_a_later_patch
	overlay_file_changed_before_it_is_added_is_refused
	patch_that_makes_a_file_is_refused
	patch_outside_of_a_group_is_refused
	local_work_survives_a_changed_series
	refresh_gives_the_same_bytes
	refresh_follows_a_new_commit
	refresh_keeps_an_edit_in_the_repository
	refresh_refuses_an_edit_in_both_places
	refresh_writes_a_file_of_two_commits
	adds_stay_out_of_the_commit_message
	commits_tell_their_groups
	refresh_moves_a_commit_to_another_group
	refresh_puts_a_commit_without_group_with_the_one_before
	refresh_refuses_an_unknown_group
	refresh_refuses_groups_out_of_order
	refresh_keeps_trailers
	format_patch_numbers_each_group
	format_patch_writes_one_group
	format_patch_without_cover_letter_writes_single_mails
	format_patch_refuses_what_is_not_in_the_series
	format_patch_signs_off_only_when_asked
	help_names_every_script
'

# fake_kernel DIR VERSION PATCHLEVEL SUBLEVEL: make a tarball that is small but has
# every file that the scripts look at.
fake_kernel() {
	k=$1/linux-7.3
	mkdir -p "$k/mm" "$k/include/linux" "$k/lib"
	printf 'VERSION = %s\nPATCHLEVEL = %s\nSUBLEVEL = %s\n' "$2" "$3" "$4" >"$k/Makefile"
	printf '*.o\n/*\n!/debian/\n' >"$k/.gitignore"
	seq 1 60 | sed 's/.*/line & of gup/' >"$k/mm/gup.c"
	seq 1 60 | sed 's/.*/line & of memremap/' >"$k/mm/memremap.c"
	echo 'obj-y += gup.o' >"$k/mm/Makefile"
	head -c 200000 /dev/urandom >"$k/lib/noise.bin"
	tar -C "$1" -cJf "$1/linux-$2.$3.$4.tar.xz" linux-7.3
	rm -rf "$k"
}

# A series of two groups, each of one patch: the first adds two files and changes the
# Makefile, and the second changes gup.c.
fake_series() {
	core=$REPO/series/1-core more=$REPO/series/2-more
	mkdir -p "$core" "$more" "$REPO/mm" "$REPO/include/linux" "$REPO/lib"
	printf 'int block;\n' >"$REPO/mm/block.c"
	printf '#!/bin/sh\n' >"$REPO/lib/block.sh"
	chmod +x "$REPO/lib/block.sh"
	cat >"$core/0001-mm-add-blocks.patch" <<'PATCH'
From: Jörg Example <joerg@example.org>
Date: Thu, 1 Oct 2026 12:00:00 +0200
Subject: mm: add blocks

A body of
two lines.

Link: https://example.org/

Adds: lib/block.sh
Adds: mm/block.c
---
diff --git a/mm/Makefile b/mm/Makefile
--- a/mm/Makefile
+++ b/mm/Makefile
@@ -1 +1,2 @@
 obj-y += gup.o
+obj-y += block.o
PATCH
	cat >"$more/0001-mm-gup-pin-blocks.patch" <<'PATCH'
From: Jörg Example <joerg@example.org>
Date: Thu, 1 Oct 2026 13:00:00 +0200
Subject: mm/gup: pin blocks

Why, and how.
---
diff --git a/mm/gup.c b/mm/gup.c
--- a/mm/gup.c
+++ b/mm/gup.c
@@ -28,6 +28,7 @@ line 27 of gup
 line 28 of gup
 line 29 of gup
 line 30 of gup
+pin
 line 31 of gup
 line 32 of gup
 line 33 of gup
PATCH
	printf 'mm: a series\n\nIts blurb.\n' >"$core/cover-letter.txt"
	printf 'mm: more of it\n\nIts blurb.\n' >"$more/cover-letter.txt"
}

# Each test that needs a repository and a tree gets fresh ones.
fresh() {
	rm -rf "$tmp/top"
	mkdir -p "$tmp/top/repo"
	REPO=$tmp/top/repo
	BUILD=$tmp/top/build
	LINUX_TARBALL=$tmp/linux-7.3.4.tar.xz
	export REPO BUILD LINUX_TARBALL
	linux=$BUILD/linux
	fake_series
}

composed() {
	fresh
	"$tools/series/compose.sh"
	unset LINUX_TARBALL
	kgit config user.name Tester
	kgit config user.email tester@example.org
}

# fails PATTERN COMMAND...: the command must fail, with one line that matches.
fails() {
	pattern=$1
	shift
	if "$@" >"$tmp/out" 2>&1; then
		echo "did not fail: $*"
		return 1
	fi
	cat "$tmp/out"
	[ "$(grep -c -v '^[a-z.-]*: note: ' "$tmp/out")" = 1 ] || {
		echo "not one line"
		return 1
	}
	grep -q -E "$pattern" "$tmp/out"
}

truncated_tarball_is_refused_in_one_line() {
	fresh
	head -c 100000 "$LINUX_TARBALL" >"$tmp/cut.tar.xz"
	LINUX_TARBALL=$tmp/cut.tar.xz fails 'cut.tar.xz: truncated' "$tools/series/base.sh"
	[ ! -e "$linux" ]
}

absent_tarball_is_refused_in_one_line() {
	fresh
	LINUX_TARBALL=$tmp/none.tar.xz fails 'none.tar.xz: no such file' "$tools/series/base.sh"
}

other_version_is_refused_in_one_line() {
	fresh
	fake_kernel "$tmp" 7 2 9
	LINUX_TARBALL=$tmp/linux-7.2.9.tar.xz fails 'not Linux 7.3.*7.2.9' "$tools/series/base.sh"
	[ ! -e "$linux" ]
}

other_release_of_the_series_is_accepted() {
	fresh
	fake_kernel "$tmp" 7 3 77
	LINUX_TARBALL=$tmp/linux-7.3.77.tar.xz "$tools/series/compose.sh" 2>"$tmp/out"
	grep -q 'note: this is Linux 7.3.77' "$tmp/out"
}

shared_tarball_must_have_the_known_sum() {
	fresh
	unset LINUX_TARBALL
	mkdir -p "$tmp/top/shared"
	cp "$tmp/linux-7.3.4.tar.xz" "$tmp/top/shared/linux-source-7.3.tar.xz"
	fails 'sha256' "$tools/series/base.sh"
}

# A machine whose apt has the sources of $tmp/top/etc and no lists. Its apt-get is a
# stub that notes the source it is given, and has a package with the tarball.
fresh_machine() {
	fresh
	unset LINUX_TARBALL
	etc=$tmp/top/etc stub=$tmp/top/bin site=$tmp/top/site
	mkdir -p "$etc/parts" "$stub" "$site" "$tmp/top/pkg/usr/src" "$tmp/top/pkg/DEBIAN"
	cat >"$tmp/top/apt.conf" <<-CONF
	Dir::Etc::sourcelist "$etc/list";
	Dir::Etc::sourceparts "$etc/parts";
	CONF
	cp "$tmp/linux-7.3.4.tar.xz" "$tmp/top/pkg/usr/src/linux-source-7.3.tar.xz"
	printf 'Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n' \
		>"$tmp/top/pkg/DEBIAN/control"
	cat >"$stub/apt-get" <<-STUB
	#!/bin/sh
	case "\$*" in
	*update) cat "\${3%/*}/sources.list" >>$tmp/top/asked ;;
	*download*) dpkg-deb -b $tmp/top/pkg x.deb ;;
	esac
	exit "\$(cat $tmp/top/apt.rc)"
	STUB
	chmod +x "$stub/apt-get"
	echo 0 >"$tmp/top/apt.rc"
	: >"$tmp/top/asked"
	cp "$tmp/linux-7.3.4.tar.xz" "$site/"
	(cd "$site" && sha256sum linux-7.3.4.tar.xz >sha256sums.asc)
	sed "s|^BASE_URL=.*|BASE_URL=file://$site/linux-7.3.4.tar.xz|" \
		"$tools/series/base.version" >"$tmp/top/base.version"
	PATH=$stub:$PATH APT_CONFIG=$tmp/top/apt.conf BASE_VERSION=$tmp/top/base.version
	export PATH APT_CONFIG BASE_VERSION
	codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
}

mirrors_come_from_apt_sources() {
	fresh_machine
	echo 1 >"$tmp/top/apt.rc"
	cat >"$etc/list" <<-LIST
	# deb file:/commented $codename main
	deb file:/other nodistro main
	deb-src file:/source $codename main
	deb [arch=amd64 signed-by=/x] file:/one $codename main
	LIST
	cat >"$etc/parts/a.sources" <<-LIST
	Types: deb deb-src
	# a comment
	URIs: file:/two
	  file:/three
	Suites: $codename $codename-updates
	Components: main

	Enabled: no
	Types: deb
	URIs: file:/off
	Suites: $codename

	Types: deb
	URIs: file:/two
	Suites: $codename-security
	LIST
	echo "deb file:/four stable main" >"$etc/parts/b.list"
	"$tools/series/base.sh" >"$tmp/out" 2>&1
	sed 's/.*\] \([^ ]*\) .*/\1/' "$tmp/top/asked" >"$tmp/got"
	printf 'file:/%s\n' one four two three | diff - "$tmp/got"
}

package_is_fetched_from_the_mirror() {
	fresh_machine
	echo "deb file:/one $codename main" >"$etc/list"
	rm "$site"/*
	"$tools/series/base.sh" >"$tmp/out" 2>&1 || { cat "$tmp/out" "$BUILD/log/base-debian.log"; return 1; }
	grep -q "another revision of Debian's 7.3.4" "$tmp/out"
	[ -e "$BUILD/download/linux-source-7.3.tar.xz" ]
	kgit rev-parse -q --verify base^0
}

kernel_org_is_tried_last_and_its_sum_checked() {
	fresh_machine
	"$tools/series/base.sh" >"$tmp/out" 2>&1
	grep -q 'name no mirror of Debian' "$tmp/out"
	kgit rev-parse -q --verify base^0
	fresh_machine
	sed -i 's/^./x/' "$site/sha256sums.asc"
	! "$tools/series/base.sh" >"$tmp/out" 2>&1 || return 1
	grep -q 'has not the sum' "$tmp/out"
	[ ! -e "$linux" ]
}

nothing_to_be_had_is_told_in_the_end() {
	fresh_machine
	rm "$site"/*
	! "$tools/series/base.sh" >"$tmp/out" 2>&1 || return 1
	tail -n 1 "$tmp/out" | grep 'no Linux 7.3 to be had, set LINUX_TARBALL=.*see .*log$'
}

ignored_by_debian_is_not_ignored_here() {
	composed
	echo new >"$linux/mm/new.c"
	[ "$(kgit status --porcelain)" = '?? mm/new.c' ]
}

compose_twice_gives_the_same_commit() {
	composed
	first=$(kgit rev-parse HEAD)
	composed
	[ "$(kgit rev-parse HEAD)" = "$first" ]
	[ "$(kgit rev-list --count base..HEAD)" = 2 ]
}

compose_writes_only_what_differs() {
	composed
	touch -d '2020-01-01' "$linux/mm/gup.c" "$linux/mm/block.c"
	kgit update-index -q --refresh
	echo 'int changed;' >>"$REPO/mm/block.c"
	"$tools/series/compose.sh"
	grep -q changed "$linux/mm/block.c"
	[ "$(date -r "$linux/mm/gup.c" +%Y)" = 2020 ]
}

misapplied_patch_is_named_with_file_and_hunk() {
	fresh
	"$tools/series/base.sh"
	unset LINUX_TARBALL
	sed -i 's/^ line 29 of gup/ line 29 of another/' "$more"/0001*
	fails '2-more/0001-mm-gup-pin-blocks.patch does not apply: mm/gup.c, hunk @@ -28,6' \
		"$tools/series/compose.sh"
	[ "$(kgit rev-parse HEAD)" = "$(kgit rev-parse base)" ]
}

fuzz_is_refused() {
	fresh
	"$tools/series/base.sh"
	unset LINUX_TARBALL
	sed -i 's/^ line 28 of gup/ line 28 of another/' "$more"/0001*
	fails 'does not apply' "$tools/series/compose.sh"
}

overlay_file_without_patch_is_refused() {
	composed
	echo >"$REPO/mm/stray.c"
	fails 'mm/stray.c: no patch of the series brings it' "$tools/series/compose.sh"
}

overlay_file_of_two_patches_is_refused() {
	composed
	sed -i 's/^---$/Adds: mm\/block.c\n---/' "$more"/0001*
	fails 'mm/block.c: named by more than one' "$tools/series/compose.sh"
}

# A build leaves files like this one, which are no sources.
overlay_file_that_the_kernel_ignores_is_refused() {
	composed
	echo >"$REPO/mm/block.o"
	sed -i 's/^---$/Adds: mm\/block.o\n---/' "$more"/0001*
	fails 'mm/block.o: ignored by the kernel' "$tools/series/compose.sh"
	mv "$REPO/mm/block.o" "$REPO/mm/.block"
	sed -i 's/block\.o$/.block/' "$more"/0001*
	"$tools/series/compose.sh"
}

# The repository has the file as the last patch leaves it.
overlay_file_is_changed_by_a_later_patch() {
	composed
	printf 'int brick;\n' >"$REPO/mm/block.c"
	printf 'diff --git a/mm/block.c b/mm/block.c\n--- a/mm/block.c\n+++ b/mm/block.c\n@@ -1 +1 @@\n-int block;\n+int brick;\n' \
		>>"$more/0001-mm-gup-pin-blocks.patch"
	"$tools/series/compose.sh"
	[ "$(kgit show HEAD:mm/block.c)" = 'int brick;' ]
	[ "$(kgit show HEAD^:mm/block.c)" = 'int block;' ]
	printf 'int else;\n' >"$REPO/mm/block.c"
	fails '2-more/0001.*: not in mm/block.c' "$tools/series/compose.sh"
}

overlay_file_changed_before_it_is_added_is_refused() {
	composed
	printf 'diff --git a/mm/block.c b/mm/block.c\n--- a/mm/block.c\n+++ b/mm/block.c\n@@ -1 +1 @@\n-int block;\n+int brick;\n' \
		>>"$core/0001-mm-add-blocks.patch"
	fails '1-core/0001.*changes mm/block.c, added by .*1-core/0001' "$tools/series/compose.sh"
}

patch_that_makes_a_file_is_refused() {
	composed
	printf 'diff --git a/mm/x.c b/mm/x.c\nnew file mode 100644\n--- /dev/null\n+++ b/mm/x.c\n@@ -0,0 +1 @@\n+x\n' \
		>>"$more/0001-mm-gup-pin-blocks.patch"
	fails '2-more/0001.*new file mode' "$tools/series/compose.sh"
}

local_work_survives_a_changed_series() {
	composed
	echo mine >>"$linux/mm/memremap.c"
	"$tools/series/compose.sh"
	echo 'int changed;' >>"$REPO/mm/block.c"
	fails 'uncommitted changes \(mm/memremap.c\)' "$tools/series/compose.sh"
	kgit commit -q -a -m 'mine'
	fails 'commits of its own' "$tools/series/compose.sh"
	grep -q mine "$linux/mm/memremap.c"
	FORCE=1 "$tools/series/compose.sh"
	[ "$(kgit rev-list --count base..HEAD)" = 2 ]
}

refresh_gives_the_same_bytes() {
	composed
	cp -a "$REPO" "$tmp/top/before"
	"$tools/series/refresh.sh"
	diff -r "$REPO" "$tmp/top/before"
	[ -x "$REPO/lib/block.sh" ]
}

refresh_follows_a_new_commit() {
	composed
	echo more >>"$linux/mm/memremap.c"
	echo new >"$linux/lib/new.c"
	kgit add -A
	kgit commit -q -m 'lib: more'
	tree=$(kgit rev-parse 'HEAD^{tree}')
	"$tools/series/refresh.sh"
	cmp "$linux/lib/new.c" "$REPO/lib/new.c"
	grep -q '^Adds: lib/new.c' "$more/0002-lib-more.patch"
	"$tools/series/compose.sh"
	[ "$(kgit rev-parse 'HEAD^{tree}')" = "$tree" ]
	kgit reset -q --hard HEAD^
	"$tools/series/refresh.sh"
	[ ! -e "$REPO/lib/new.c" ]
	[ ! -e "$more/0002-lib-more.patch" ]
}

refresh_keeps_an_edit_in_the_repository() {
	composed
	echo 'int edited;' >>"$REPO/mm/block.c"
	echo more >>"$linux/mm/memremap.c"
	kgit commit -q -a -m 'mm: more'
	"$tools/series/refresh.sh"
	grep -q edited "$REPO/mm/block.c"
	"$tools/series/compose.sh"
	grep -q edited "$linux/mm/block.c"
}

refresh_refuses_an_edit_in_both_places() {
	composed
	echo 'int edited;' >>"$REPO/mm/block.c"
	echo 'int other;' >>"$linux/mm/block.c"
	kgit commit -q -a --fixup HEAD^
	GIT_SEQUENCE_EDITOR=: kgit rebase -q -i --autosquash base
	fails 'mm/block.c: changed here and in' "$tools/series/refresh.sh"
	grep -q edited "$REPO/mm/block.c"
}

refresh_writes_a_file_of_two_commits() {
	composed
	echo 'int later;' >>"$linux/mm/block.c"
	kgit commit -q -a -m 'mm: later'
	head=$(kgit log --format=%T base..HEAD)
	"$tools/series/refresh.sh"
	grep -q later "$REPO/mm/block.c"
	grep -q '^+int later;' "$more/0002-mm-later.patch"
	FORCE=1 "$tools/series/compose.sh"
	[ "$(kgit log --format=%T base..HEAD)" = "$head" ]
}

adds_stay_out_of_the_commit_message() {
	composed
	kgit log -1 --format=%B HEAD^ >"$tmp/out"
	printf 'mm: add blocks\n\nA body of\ntwo lines.\n\nLink: https://example.org/\n\nGroup: core\n\n' |
		diff - "$tmp/out"
	[ "$(kgit log -1 --format='%an %aD' HEAD^)" = \
		'Jörg Example Thu, 1 Oct 2026 12:00:00 +0200' ]
}

# The order of the groups, and so of the patches, would be anything.
patch_outside_of_a_group_is_refused() {
	fresh
	"$tools/series/base.sh"
	unset LINUX_TARBALL
	for bad in 0001-x.patch more/0001-x.patch 10-more/0001-x.patch; do
		mkdir -p "$(dirname "$REPO/series/$bad")"
		cp "$more"/0001* "$REPO/series/$bad"
		fails "series/$bad: not in a group's directory" "$tools/series/compose.sh"
		rm "$REPO/series/$bad"
	done
	mkdir "$REPO/series/1-other"
	fails 'two groups are 1' "$tools/series/compose.sh"
	mv "$REPO/series/1-other" "$REPO/series/3-core"
	fails 'two groups are core' "$tools/series/compose.sh"
}

# regroup OLD NEW: change the Group: line of the last commit.
regroup() {
	kgit log -1 --format=%B | sed "s/^Group: $1\$/$2/" |
		kgit commit -q --amend -F -
}

commits_tell_their_groups() {
	composed
	[ "$(kgit log --format=%B | grep '^Group:' | paste -s -d ' ')" = \
		'Group: more Group: core' ]
}

# One that was moved in rebase -i, and its Group: line changed
refresh_moves_a_commit_to_another_group() {
	composed
	tree=$(kgit rev-parse 'HEAD^{tree}')
	regroup more 'Group: core'
	"$tools/series/refresh.sh"
	[ -e "$core/0002-mm-gup-pin-blocks.patch" ]
	[ "$(cd "$REPO/series" && find . -name '*.patch' | wc -l)" = 2 ]
	[ -e "$more/cover-letter.txt" ]
	FORCE=1 "$tools/series/compose.sh"
	[ "$(kgit rev-parse 'HEAD^{tree}')" = "$tree" ]
}

refresh_puts_a_commit_without_group_with_the_one_before() {
	composed
	regroup more ''
	"$tools/series/refresh.sh" 2>"$tmp/out"
	grep -q 'note:.*mm/gup: pin blocks.*no Group: line, goes to 1-core' "$tmp/out"
	[ -e "$core/0002-mm-gup-pin-blocks.patch" ]
	kgit log -1 --format=%B | grep -q '^Group: core$'
}

refresh_refuses_an_unknown_group() {
	composed
	regroup more 'Group: moer'
	fails 'mm/gup: pin blocks.*no series/N-moer; groups: core more' \
		"$tools/series/refresh.sh"
	regroup moer 'Group: *'
	fails 'no series/N-\*' "$tools/series/refresh.sh"
	kgit reset -q --hard base
	echo more >>"$linux/mm/memremap.c"
	kgit commit -q -a -m 'mm: no group'
	fails 'no Group: line, and no commit before it; groups: core more' \
		"$tools/series/refresh.sh"
	[ -e "$more/0001-mm-gup-pin-blocks.patch" ]
}

refresh_refuses_groups_out_of_order() {
	composed
	echo more >>"$linux/mm/memremap.c"
	kgit commit -q -a -m "mm: late

Group: core"
	fails 'mm: late.*belongs to 1-core but comes after a commit of 2-more' \
		"$tools/series/refresh.sh"
	[ ! -e "$core/0002-mm-late.patch" ]
}

# Others would be lost: git commit --trailer puts its own next to Group:, and squash
# leaves two of that.
refresh_keeps_trailers() {
	composed
	kgit commit -q --amend --trailer 'Reviewed-by: A B <a@example.org>' -F - <<-MESSAGE
	mm/gup: pin blocks

	Why, and how.

	Group: more

	Fixes: 0123456789ab ("mm: blocks")
	Group: more
	MESSAGE
	"$tools/series/refresh.sh"
	sed -n '/^Why/,/^---/p' "$more"/0001* >"$tmp/out"
	printf '%s\n' 'Why, and how.' '' 'Fixes: 0123456789ab ("mm: blocks")' \
		'Reviewed-by: A B <a@example.org>' --- | diff - "$tmp/out"
	before=$(kgit rev-parse HEAD)
	FORCE=1 "$tools/series/compose.sh"
	[ "$(kgit rev-parse HEAD)" = "$before" ]
	kgit commit -q --amend -m 'mm: two' -m 'Group: core' -m 'Group: more'
	fails 'mm-two.patch: the message has more than one group' "$tools/series/refresh.sh"
}

format_patch_numbers_each_group() {
	composed
	"$tools/series/format-patch.sh"
	cd "$BUILD/patches"
	[ "$(find . -name '*.patch' | wc -l)" = 4 ]
	grep -q '^Subject: \[PATCH 0/1\] mm: a series' 1-core/0000-cover-letter.patch
	grep -q '^Subject: \[PATCH 0/1\] mm: more of it' 2-more/0000-cover-letter.patch
	grep -q '^Subject: \[PATCH 1/1\] mm/gup: pin blocks' 2-more/0001*
	grep -q "^base-commit: $(kgit rev-parse base)" 2-more/0000-cover-letter.patch
	! grep -r '^prerequisite-patch-id' 1-core || return 1
	grep -q '^prerequisite-patch-id: ' 2-more/0000-cover-letter.patch
	! grep -r '^Group:' . || return 1
	# The README tells to do this.
	git -C "$linux" checkout -q --detach base
	git -C "$linux" am -q --empty=drop "$PWD"/*/*.patch
	[ "$(kgit rev-parse 'HEAD^{tree}')" = "$(kgit rev-parse 'series^{tree}')" ]
	! kgit rev-parse -q --verify refs/heads/mail || return 1
}

format_patch_writes_one_group() {
	composed
	"$tools/series/format-patch.sh" more
	[ ! -e "$BUILD/patches/1-core" ]
	"$tools/series/format-patch.sh" core
	[ -d "$BUILD/patches/1-core" ] && [ -d "$BUILD/patches/2-more" ]
	fails 'no group moer, there are: core more' "$tools/series/format-patch.sh" moer
	rm "$more/cover-letter.txt"
	fails '2-more/cover-letter.txt: missing' "$tools/series/format-patch.sh" more
}

# Fixes go to different people.
format_patch_without_cover_letter_writes_single_mails() {
	composed
	rm "$core/cover-letter.txt"
	echo more >>"$linux/mm/memremap.c"
	regroup more 'Group: core'
	kgit commit -q -a -m "mm: more"
	"$tools/series/refresh.sh"
	"$tools/series/format-patch.sh"
	[ "$(cat "$BUILD"/patches/*/*.patch | grep -c '^Subject: \[PATCH\] ')" = 3 ]
	[ "$(cat "$BUILD"/patches/*/*.patch | grep -c '^base-commit: ')" = 3 ]
	! grep -r -E '^(In-Reply-To|prerequisite-patch-id):' "$BUILD/patches" || return 1
	echo again >>"$linux/mm/memremap.c"
	kgit commit -q -a -m "mm: again"
	"$tools/series/refresh.sh"
	! "$tools/series/format-patch.sh" >"$tmp/out" 2>&1 || return 1
	tail -n 1 "$tmp/out" |
		grep '1-core has no cover-letter.txt, but git am does not take 0004-mm-again.patch by itself'
}

format_patch_refuses_what_is_not_in_the_series() {
	composed
	echo more >>"$linux/mm/memremap.c"
	kgit commit -q -a -m "mm: more"
	fails 'make refresh first' "$tools/series/format-patch.sh"
}

format_patch_signs_off_only_when_asked() {
	composed
	"$tools/series/format-patch.sh"
	if grep -r Signed-off-by "$BUILD/patches" "$REPO/series"; then
		return 1
	fi
	SIGNOFF=1 "$tools/series/format-patch.sh" core
	grep -q '^Signed-off-by: Tester <tester@example.org>' "$BUILD"/patches/1-core/0001*
}

help_names_every_script() {
	fresh
	for s in "$tools"/deps.sh "$tools"/series/*.sh "$tools"/vm/vm.sh "$tools"/vm/kernel.sh \
		"$tools"/test/*.sh "$tools"/test/host/*.sh "$tools"/bench/*.sh "$tools"/guest/guest.sh; do
		case $s in */lib.sh | */ktap.sh | *-machine.sh) continue ;; esac
		"$s" -h | grep -q "^usage: ${s##*/}" || {
			echo "$s -h"
			return 1
		}
	done
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac
make_tmp
# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- $tests
fake_kernel "$tmp" 7 3 4
BASE_VERSION=$tools/series/base.version
# The user's configuration must not matter.
GIT_CONFIG_GLOBAL=/dev/null
export BASE_VERSION GIT_CONFIG_GLOBAL
unset FORCE SIGNOFF REROLL SUBJECT_PREFIX LINUX_TARBALL
echo 'KTAP version 1'
echo "1..$#"
number=0 failed=0
for name; do
	number=$((number + 1))
	# Each test has a subshell of its own, because set -e has no effect inside a
	# condition.
	set +e
	(set -eu; trap - EXIT; "$name") >"$tmp/log" 2>&1
	rc=$?
	set -e
	if [ "$rc" = 0 ]; then
		echo "ok $number $name"
	else
		failed=$((failed + 1))
		sed 's/^/# /' "$tmp/log"
		echo "not ok $number $name"
	fi
done
echo "# $((number - failed)) passed, $failed failed"
[ "$failed" = 0 ]
