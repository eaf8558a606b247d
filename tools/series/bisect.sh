#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Build the kernel at every commit of the series.
set -eu
tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
# shellcheck source=tools/series/lib.sh
. "$tools/series/lib.sh"

usage() {
	cat <<USAGE
usage: $me [group | commit ...]

Builds a bzImage in $side/out at each commit of the series (or of the
groups, or at the commits given), and at the last one without
CONFIG_TRANSIENT_MEMMAP as well. It goes on after a failure; the exit status
tells whether there was one.
USAGE
}

failed=0

# build NAME WHAT OPTION...: build a kernel and print one line about it.
build() {
	out=$side/out/$1 what=$2
	shift 2
	start=$(date +%s)
	if "$tools/vm/kernel.sh" -t -s "$side/linux" -o "$out" "$@" \
		>"$BUILD/log/bisect.out" 2>&1; then
		printf 'ok    %5d s  %s\n' $(($(date +%s) - start)) "$what"
	else
		printf 'FAIL  %5d s  %s\n' $(($(date +%s) - start)) "$what"
		failed=$((failed + 1))
		tail -n 1 "$BUILD/log/bisect.out" | sed 's/^/      /'
		cp "$BUILD/log/kernel-${out##*/}.log" \
			"$BUILD/log/bisect-failed-$failed.log" 2>/dev/null || :
	fi
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac
"$tools/series/compose.sh"
make_tmp
mkdir -p "$BUILD/log"
commits=''
for what; do
	! group_dir "$what" >/dev/null || what=$(group_commits "$what")
	commits="$commits $what"
done
[ $# -gt 0 ] || commits=$(kgit rev-list --reverse base..HEAD)
[ -n "$commits" ] || die "the series is empty"
for c in $commits; do
	side_tree "$c"
	build bisect "$(kgit log -1 --format='%h %s' "$c")" normal
done
echo 'CONFIG_TRANSIENT_MEMMAP=n' >"$tmp/off.config"
build bisect-off "the last one, CONFIG_TRANSIENT_MEMMAP=n" -f "$tmp/off.config" normal
[ "$failed" = 0 ] || die "$failed of these do not build, logs in $BUILD/log/bisect-failed-*.log"
