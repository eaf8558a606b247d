# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Test scripts source this to write KTAP to stdout, the plan first.

ktap_nr=0 ktap_failed=0

ktap_plan() { echo "KTAP version 1"; echo "1..$1"; }

# ktap_result pass|fail|skip NAME [REASON]: print one result.
ktap_result() {
	ktap_nr=$((ktap_nr + 1))
	case $1 in
	pass) echo "ok $ktap_nr $2" ;;
	skip) echo "ok $ktap_nr $2 # SKIP ${3:-}" ;;
	*)
		ktap_failed=$((ktap_failed + 1))
		[ -z "${3:-}" ] || echo "# $3"
		echo "not ok $ktap_nr $2"
		;;
	esac
}

# ktap_check NAME COMMAND...: the command's status is the result; 4 is a skip. Those
# lines of its output that begin with # are kept. If it fails or skips, the last line of
# the output is the reason.
ktap_check() {
	ktap_name=$1
	shift
	ktap_rc=0
	ktap_why=$("$@" 2>&1) || ktap_rc=$?
	echo "$ktap_why" | grep '^#' || :
	ktap_why=$(echo "$ktap_why" | tail -n 1)
	case $ktap_rc in
	0) ktap_result pass "$ktap_name" ;;
	4) ktap_result skip "$ktap_name" "$ktap_why" ;;
	*) ktap_result fail "$ktap_name" "$ktap_why" ;;
	esac
}
