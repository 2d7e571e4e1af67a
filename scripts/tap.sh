# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Result lines for the check-* scripts; scripts/test numbers them. Sourced after env.sh.
# A script sets "names" to its tests, calls "tap_start", and then "result" once for
# each. -l lists the names, T=NAME reports only that test.

tap_count=0
tap_bad=0

tap_start() {
	if [[ ${1:-} == -l ]]; then
		printf '%s\n' "${names[@]}"
		exit
	fi
	work=$(mktemp -d "$top/build/${0##*/}.XXXXXX")
	trap 'rm -rf "$work"' EXIT
}

# Succeed if the test of that name is to be run.
wanted() {
	[[ -z ${T:-} || $T == "$1" ]]
}

# result NAME STATUS [FILE]: report a test, and show the end of FILE on failure
result() {
	local verdict=ok

	wanted "$1" || return 0
	tap_count=$((tap_count + 1))
	if (($2)); then
		verdict="not ok"
		tap_bad=$((tap_bad + 1))
		[[ ! -s ${3:-} ]] || tail -n 40 "$3" | sed 's/^/# /'
	fi
	echo "$verdict - $1"
}

# Call this after the result of each name.
tap_end() {
	echo "1..$tap_count"
	exit $((tap_bad > 0))
}
