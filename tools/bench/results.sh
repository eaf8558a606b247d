#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Write a measured table into RESULTS.md.
set -eu

tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
results=${RESULTS:-$top/RESULTS.md}
names='demo bench bench-base bench-irqsoff growth guestramfs size guest guest-count kexec memerr backend libvirt users'

usage() {
	cat <<USAGE
usage: $me NAME FILE

Replaces the text between the lines "<!-- begin NAME -->" and "<!-- end NAME -->"
of RESULTS.md by the text of FILE, as a code block; that of "users" is Markdown
already and goes there as it is. If anything fails, RESULTS.md stays as it was.

NAME is one of: $names
Environment: RESULTS, another file than RESULTS.md.
USAGE
}

case ${1:-} in
-h) usage; exit 0 ;;
esac
[ $# = 2 ] || { usage >&2; exit 2; }
name=$1 file=$2

case " $names " in
*" $name "*) ;;
*) die "no table is called '$name': it is one of $names" ;;
esac
[ -f "$file" ] || die "$file: no such file"
[ -s "$file" ] || die "$file is empty"
[ -f "$results" ] || die "$results: no such file"
! grep -qE '^(```|<!-- (begin|end) )' "$file" || die "$file has a line that would end the code block"

# Unless there is exactly one line of each, in this order, awk would drop other text.
marks=$(grep -nxF -e "<!-- begin $name -->" -e "<!-- end $name -->" "$results" |
	sed 's/^[0-9]*:<!-- \([a-z]*\) .*/\1/' | tr '\n' ' ')
[ "$marks" = 'begin end ' ] ||
	die "$results: not one line '<!-- begin $name -->' and, after it, one '<!-- end $name -->'"

fence='```'
[ "$name" != users ] || fence=''
new=$(mktemp "$results.XXXXXX")
trap 'rm -f "$new"' EXIT

FILE=$file awk -v begin="<!-- begin $name -->" -v end="<!-- end $name -->" \
	-v fence="$fence" '
	$0 == end { inside = 0 }
	!inside { print }
	$0 == begin {
		inside = 1
		if (fence) print fence
		while ((rc = (getline line < ENVIRON["FILE"])) > 0)
			print line
		if (rc < 0) exit 1
		if (fence) print fence
	}' "$results" >"$new" || die "$file cannot be read"
chmod --reference="$results" "$new"
mv "$new" "$results"
