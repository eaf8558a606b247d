#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Judge a KTAP file more strictly than kunit.py does, and count its results.
set -eu

tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
skips=${SKIPS:-$tools/test/skips}
kunit=${KUNIT:-$linux/tools/testing/kunit/kunit.py}

usage() {
	cat <<USAGE
usage: $me TEST FILE
Prints "PASSED FAILED SKIPPED", then a line per problem, then what each failed
test said right before its "not ok". It is stricter than kunit.py parse: the plan
must come first, each promised result must be there, the file may have only one
document, and no "not ok" may hide behind a "#". A SKIP that tools/test/skips does
not list is a problem, and when CI is set, a failure.
USAGE
}

# structure FILE: print the problems of the document's structure, one a line.
structure() {
	awk '
	function leave(l) {
		if (plan[l] == "" && l < 2)
			print "no plan" (l ? " in a suite" : "")
		else if (plan[l] != "" && seen[l] != plan[l])
			print seen[l] + 0 " of " plan[l] " results are there"
		delete plan[l]
		delete seen[l]
		deepest = l - 1
	}
	{
		match($0, /^ */)
		l = int(RLENGTH / 4)
		line = substr($0, RLENGTH + 1)
	}
	NR == 1 && line !~ /^K?TAP version/ { print "no version line first" }
	line ~ /^K?TAP version/ && l == 0 && NR > 1 { print "a second document" }
	line ~ /^1\.\.[0-9]+/ {
		if (plan[l] != "")
			print "a second plan"
		if (seen[l])
			print "the plan comes after results"
		plan[l] = substr(line, 4) + 0
		if (l > deepest)
			deepest = l
	}
	line ~ /^#.*not ok / { print "hidden: " line }
	line ~ /^(not )?ok [0-9]+/ {
		while (deepest > l)
			leave(deepest)
		deepest = l
		sub(/^not /, "", line)
		split(line, word)
		if (word[2] != ++seen[l])
			print "result " word[2] " where " seen[l] " was due"
	}
	END {
		while (deepest > 0)
			leave(deepest)
		leave(0)
	}' "$1"
}

# reasons FILE: print what each test said right before it failed.
reasons() {
	grep -B 4 '^ *not ok ' "$1" | grep -vE '^ *(not )?ok |^--$|^ *#? Subtest: |^ *1\.\.|^K?TAP version ' |
		cut -c -300 | sed 's/^ *#* */  /' || :
}

# unlisted TEST: print the names of skipped subtests that are not on the list.
unlisted() {
	while read -r name; do
		awk -F '\t' -v test="$1" -v name="$name" '
		/^#/ || $1 != test { next }
		$2 == name { found = 1 }
		$2 ~ /\*$/ && index(name, substr($2, 1, length($2) - 1)) == 1 { found = 1 }
		END { exit !found }' "$skips" || echo "$name"
	done
}

case ${1:--h} in -h) usage; exit 0 ;; esac
test=$1
file=$2
if [ ! -s "$file" ]; then
	echo "0 1 0"
	echo "no results"
	exit
fi
file=$(cd "$(dirname "$file")" && pwd)/${file##*/}
make_tmp
structure "$file" >"$tmp/problems"
failed=$(grep -c . "$tmp/problems" || :)
[ "$failed" -le 1 ] || failed=1

if grep -q '^1\.\.0\b' "$file"; then
	sed -n 's/^1\.\.0.*SKIP *//p' "$file" >"$tmp/reason"
	passed=0 skipped=1
	echo "$test" >"$tmp/skipped"
else
	python3 "$kunit" parse --json="$tmp/json" "$file" >"$tmp/log" 2>&1 || :
	[ -s "$tmp/json" ] || die "kunit.py: $(tail -n 1 "$tmp/log")"
	# In the JSON, a group has no status of its own: only its members have one.
	jq -r '.. | .test_cases? // empty | .[] | .status + "\t" + .name' \
		"$tmp/json" >"$tmp/cases"
	passed=$(grep -c '^PASS' "$tmp/cases" || :)
	skipped=$(grep -c '^SKIP' "$tmp/cases" || :)
	failed=$((failed + $(grep -cvE '^(PASS|SKIP)' "$tmp/cases" || :)))
	sed -n 's/^SKIP	//p' "$tmp/cases" >"$tmp/skipped"
	grep -vE '^(PASS|SKIP)' "$tmp/cases" | cut -f 2 | sed -n "s/./failed: &/p" \
		>>"$tmp/problems" || :
	# A group can fail although none of its members does.
	if [ "$failed" = 0 ] && grep -qE '^ *not ok ' "$file"; then
		failed=1
		grep -E '^ *not ok ' "$file" >>"$tmp/problems"
	fi
fi
[ $((passed + skipped + failed)) -gt 0 ] || { failed=1; echo "no results" >>"$tmp/problems"; }
unlisted "$test" <"$tmp/skipped" >"$tmp/unlisted"
if [ -s "$tmp/unlisted" ]; then
	sed 's/^/skipped without being listed: /' "$tmp/unlisted" >>"$tmp/problems"
	if [ -n "${CI:-}" ]; then
		bad=$(grep -c . "$tmp/unlisted")
		failed=$((failed + bad))
		skipped=$((skipped - bad))
	fi
fi
echo "$passed $failed $skipped"
cat "$tmp/problems"
reasons "$file"
