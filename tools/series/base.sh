#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Put the kernel that the series is written for into build/linux.
set -eu
tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
# shellcheck source=tools/series/lib.sh
. "$tools/series/lib.sh"
base_version

usage() {
	cat <<USAGE
usage: $me

Unpacks Linux $BASE_SERIES into $linux and makes it a git repository
with one commit, tagged base. It does nothing when the tree is there already.

It takes the first of these tarballs:
  LINUX_TARBALL=FILE                any $BASE_SERIES.y
  ../shared/$BASE_TARBALL
  the Debian package $BASE_PACKAGE ($BASE_SUITE)
  $BASE_URL,
    which must have the sum in the sha256sums.asc beside it
Downloads are kept in $BUILD/download.
USAGE
}

download=$BUILD/download

# Prints "suite URI" for each source of apt. Its lists need not have been fetched yet.
sources() {
	list='' parts=''
	eval "$(apt-config shell list Dir::Etc::sourcelist/f parts Dir::Etc::sourceparts/d)"
	for f in "$list" "$parts"/*.list; do
		[ ! -r "$f" ] || sed 's/\[[^]]*\]//' "$f" |
			awk '$1 == "deb" { print $3, $2 }'
	done
	for f in "$parts"/*.sources; do
		[ ! -r "$f" ] || awk -v RS= '{
			n = split($0, line, "\n")
			key = suites = uris = types = off = ""
			for (i = 1; i <= n; i++) {
				if (line[i] ~ /^#/)
					continue
				if (match(line[i], /^[A-Za-z-]+:/)) {
					key = tolower(substr(line[i], 1, RLENGTH - 1))
					line[i] = substr(line[i], RLENGTH + 1)
				}
				value = line[i] " "
				if (key == "types") types = types value
				if (key == "uris") uris = uris value
				if (key == "suites") suites = suites value
				if (key == "enabled") off = value ~ /no/
			}
			if (off || types !~ /deb( |$)/)
				next
			n = split(uris, uri)
			m = split(suites, suite)
			for (i = 1; i <= n; i++)
				for (j = 1; j <= m; j++)
					print suite[j], uri[i]
		}' "$f"
	done
}

# Prints the mirrors that this machine gets Debian's own packages from, one a line.
mirrors() {
	codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
	sources | awk -v c="$codename" '$1 == c || $1 ~ /^(un|old)?stable$|^testing$|^sid$/ {
		if (!seen[$2]++) print $2 }'
}

# private_apt DIR MIRROR: set up a separate apt below DIR. It has the machine's settings
# (proxy, credentials), but its own package lists and a single source. The machine's
# hooks are left out.
private_apt() {
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -r "$keyring" ] || keyring=${keyring%.gpg}.pgp
	mkdir -p "$1/lists/partial" "$1/cache/archives/partial"
	echo "deb [signed-by=$keyring] $2 $BASE_SUITE main" >"$1/sources.list"
	cat >"$1/apt.conf" <<CONF
Dir::State "$1";
Dir::State::lists "$1/lists";
Dir::Cache "$1/cache";
Dir::Etc::sourcelist "$1/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "-";
Acquire::Languages "none";
Acquire::Retries "3";
APT::Sandbox::User "root";
#clear APT::Default-Release;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
CONF
}

# Prints how many MB have been written.
progress() { echo "($(du -sm "$tmp" | cut -f 1) MB of about $total)"; }

# package MIRROR LOG: take the tarball out of Debian's package.
package() {
	apt=$tmp/apt
	total='160 and some package lists'
	rm -rf "$apt"
	private_apt "$apt" "$1"
	run "$2" "list of $BASE_SUITE" apt-get -q -c "$apt/apt.conf" update ||
		return 1
	cd "$apt"
	run "$2" "package $BASE_PACKAGE" \
		apt-get -q -c "$apt/apt.conf" download "$BASE_PACKAGE" ||
		return 1
	total=400
	run "$2" "unpacking the package" dpkg-deb -x ./*.deb x || return 1
	cd "$top"
	mv "$apt/x/usr/src/$BASE_TARBALL" "$tmp/got" 2>/dev/null
}

from_debian() {
	command -v apt-get >/dev/null || return 1
	mirrors=$(mirrors)
	if [ -z "$mirrors" ]; then
		say "apt's sources name no mirror of Debian: $BASE_PACKAGE is not tried"
		return 1
	fi
	for mirror in $mirrors; do
		say "fetching Debian's $BASE_PACKAGE (160 MB), log in $BUILD/log/base-debian.log"
		if package "$mirror" "$BUILD/log/base-debian.log"; then
			mv "$tmp/got" "$download/$BASE_TARBALL"
			tarball=$download/$BASE_TARBALL
			return 0
		fi
	done
	log_end "$BUILD/log/base-debian.log"
	say "Debian's $BASE_PACKAGE is out of reach: see $BUILD/log/base-debian.log"
	return 1
}

# fetch URL FILE: download with curl or wget.
fetch() {
	if command -v curl >/dev/null; then
		run "$log" "download" curl -fsSL -o "$2" "$1"
	elif command -v wget >/dev/null; then
		run "$log" "download" wget -nv -O "$2" "$1"
	else
		echo "neither curl nor wget" >"$log"
		return 1
	fi
}

from_kernel_org() {
	log=$BUILD/log/base-download.log total=160
	say "fetching $BASE_URL, log in $log"
	fetch "$BASE_URL" "$tmp/got" || return 1
	fetch "${BASE_URL%/*}/sha256sums.asc" "$tmp/sums" || return 1
	sum=$(awk -v f="${BASE_URL##*/}" '$2 == f { print $1 }' "$tmp/sums")
	if ! echo "$sum  $tmp/got" | sha256sum -c --status 2>/dev/null; then
		say "$BASE_URL has not the sum of sha256sums.asc"
		return 1
	fi
	mv "$tmp/got" "$download/${BASE_URL##*/}"
	tarball=$download/${BASE_URL##*/}
}

# find_tarball: set $tarball.
find_tarball() {
	mkdir -p "$download"
	if [ -n "${LINUX_TARBALL:-}" ]; then
		tarball=$LINUX_TARBALL
		return
	fi
	for tarball in "$top/../shared/$BASE_TARBALL" "$download/$BASE_TARBALL" \
		"$download/${BASE_URL##*/}"; do
		[ ! -e "$tarball" ] || return 0
	done
	from_debian || from_kernel_org ||
		die_with_log "$BUILD/log/base-download.log" \
			"no Linux $BASE_SERIES to be had, set LINUX_TARBALL="
}

# Check the file as far as that is possible without unpacking it.
check_tarball() {
	[ -f "$tarball" ] || die "$tarball: no such file"
	[ -r "$tarball" ] || die "$tarball: not readable"
	[ -s "$tarball" ] || die "$tarball: empty"
	case $tarball in
	*.xz) xz -l "$tarball" >/dev/null 2>&1 ||
		die "$tarball: truncated or not an xz file" ;;
	esac
	if [ "$tarball" = "$top/../shared/$BASE_TARBALL" ]; then
		echo "$BASE_SHA256  $tarball" | sha256sum -c --status ||
			die "$tarball: not the one of tools/series/base.version (sha256)"
	fi
	dir=$(tar -tf "$tarball" 2>/dev/null | sed -n '1s#/.*##p;1q') || :
	[ -n "$dir" ] || die "$tarball: not a tar file"
	mkdir "$tmp/look"
	tar -xf "$tarball" -C "$tmp/look" --occurrence=1 "$dir/Makefile" \
		2>/dev/null || die "$tarball: truncated, or no Linux: no $dir/Makefile"
	version=$(release "$tmp/look/$dir")
	case $version in
	"$BASE_SERIES".*) ;;
	*) die "$tarball: not Linux $BASE_SERIES, its Makefile says ${version%.}" ;;
	esac
	if [ "$version" != "$BASE_RELEASE" ]; then
		say "note: this is Linux $version, the series is written for $BASE_RELEASE"
	elif [ "$tarball" = "$download/$BASE_TARBALL" ] &&
		! echo "$BASE_SHA256  $tarball" | sha256sum -c --status; then
		# apt has verified Debian's signature.
		say "note: this is another revision of Debian's $version than the series is written for"
	fi
}

unpack() {
	say "unpacking Linux $version from $tarball (30 s)"
	log=$BUILD/log/base-unpack.log total=1700
	run "$log" "unpacking" tar -xf "$tarball" -C "$tmp" ||
		die_with_log "$log" "$tarball: damaged"
}

# Make one commit whose id depends on the content alone. The many blobs go into one
# pack, because an object file for each would take longer. $dir has no blanks.
# shellcheck disable=SC2086
commit_base() {
	bgit="git -C $dir"
	rm -rf "$dir/.git"
	# Debian's packaging makes git ignore every file of the tree, so that git would
	# leave a new file out of a commit without a word.
	sed -i -e '/^\/\*$/d' -e '/^!\/debian\/$/d' "$dir/.gitignore"
	$bgit -c init.defaultBranch=series init -q
	$bgit config gc.auto 0
	$bgit config core.autocrlf false
	GIT_AUTHOR_NAME=base GIT_AUTHOR_EMAIL=base@localhost
	GIT_AUTHOR_DATE='2026-01-01T00:00:00Z'
	GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME
	GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
	GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE
	export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE
	export GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL GIT_COMMITTER_DATE
	run "$log" "committing" $bgit -c core.bigFileThreshold=1 -c core.compression=1 \
		add -A -f . &&
		run "$log" "committing" $bgit -c commit.gpgSign=false \
			commit -q --no-verify -m "Linux $version" &&
		$bgit tag base
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac

if [ -e "$linux" ]; then
	git -C "$linux" rev-parse -q --verify base^0 >/dev/null 2>&1 ||
		die "$linux is there, but has no commit tagged base: move it away"
	[ -z "${LINUX_TARBALL:-}" ] ||
		say "note: Linux $(release "$linux") is there already; make distclean, then LINUX_TARBALL= counts"
	exit 0
fi

make_tmp
find_tarball
check_tarball
unpack
say "committing it as the base (30 s)"
log=$BUILD/log/base-commit.log dir=$tmp/$dir total=2200
commit_base || die_with_log "$log" "git failed"
mv "$dir" "$linux"
say "Linux $version is in $linux"
