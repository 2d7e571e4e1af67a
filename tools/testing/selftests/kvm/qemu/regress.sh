#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Run the kernel's own KVM selftests on the base kernel and on ours, and print one TAP
# stream: a test that passes on the base has to pass on ours. A test that fails on ours
# is repeated twice, since under emulation some fail now and then. The file "table" in
# the output directory has the results: name, base, ours.
#
#   regress.sh MACHINE
#
# Environment: BUILD_PATH and BASE_BUILD, where the two kernels are,
# KERNEL_IMAGE; TESTS, to run those only.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
machine=$1
out=$BUILD_PATH/regress/run
initrd=$BUILD_PATH/initramfs-regress.cpio.gz
# On an idle host a run takes two or three minutes.
limit=1500
retries=2

# boot KERNEL DIR [TEST...]
boot()
{
	local path=$BUILD_PATH dir=$out/$2

	[ "$1" = ours ] || path=$BASE_BUILD
	shift 2
	mkdir -p "$dir"
	# Tests of guests' clocks need a TSC that the host trusts.
	KERNEL=$path/kernel/$KERNEL_IMAGE INITRD=$initrd LIMIT=$limit MODE=log \
	APPEND="tsc=reliable clocksource=tsc" \
		"$here/boot.sh" "$machine" "$dir" regress "$@" \
		> /dev/null 2> "$dir/boot" || :
	awk -v machine=regress -f "$here/tap.awk" "$dir/console" > "$dir/tap"
}

# Print NAME<tab>pass|fail|timeout|skip<tab>comment for each test of a run.
results()
{
	sed -nE "s/^(ok|not ok) regress: ([^ ]+) # (.*)$/\1\t\2\t\3/p" "$out/$1/tap" |
	awk -F '\t' -v OFS='\t' '
		{ verdict = $1 == "ok" ? "pass" : "fail" }
		$3 ~ /^SKIP/ { verdict = "skip" }
		$3 ~ /^timeout/ { verdict = "timeout" }
		{ print $2, verdict, $3 }'
}

# Print the tests that pass on the base, but in no run on ours.
worse()
{
	awk -F '\t' '
		FILENAME == ARGV[1] { if ($2 == "pass") base[$1]; next }
		$2 == "pass" { delete base[$1] }
		END { for (name in base) print name }' "$out/base.tsv" "$@" | sort
}

count=0
failures=0

result()
{
	count=$((count + 1))
	case $1 in
	not*)	failures=$((failures + 1)) ;;
	esac
	echo "$1 - regress: $2"
}

# Judge the console of ours, if that of the base is clean, by tap.awk's last result.
judge_console()
{
	local dir=$1 what="console clean" base ours

	base=$(sed -n "/ok regress: $what\$/,\$p" "$out/base/tap")
	ours=$(sed -n "/ok regress: $what\$/,\$p" "$out/$dir/tap")
	case $base/$ours in
	*/ok*)		result ok "$dir: $what" ;;
	ok*/*)		sed -n 's/^# *regress: //; /^#/p' <<< "$ours"
			result "not ok" "$dir: $what" ;;
	*)		result ok "$dir: $what # SKIP neither is the base's" ;;
	esac
}

trap 'kill $(jobs -p) 2> /dev/null || :; wait' EXIT
trap 'exit 130' INT TERM

rm -rf "$out"
mkdir -p "$out"
echo "TAP version 13"
for kernel in base ours; do
	# shellcheck disable=SC2086
	boot $kernel $kernel ${TESTS:-} &
done
wait
results base > "$out/base.tsv"
results ours > "$out/ours.tsv"

runs=(ours)
tsv=("$out/ours.tsv")
for ((i = 1; i <= retries; i++)); do
	mapfile -t again < <(worse "${tsv[@]}")
	if [ ${#again[@]} -eq 0 ] || [ ${#again[@]} -gt 20 ]; then
		break
	fi
	echo "# pass on the base only, and are run again: ${again[*]}"
	boot ours "again-$i" "${again[@]}"
	results "again-$i" > "$out/again-$i.tsv"
	runs+=("again-$i")
	tsv+=("$out/again-$i.tsv")
done

# Print a line for each test: name, base, ours, comments of both, attempts.
awk -F '\t' -v OFS='\t' -v tests="${TESTS:-}" '
	FILENAME == ARGV[1] {
		sub(/ .*/, "", $1)
		if (tests == "" || index(" " tests " ", " " $1 " "))
			name[++n] = $1
		next
	}
	FILENAME == ARGV[2] { base[$1] = $2; said_base[$1] = $3; next }
	ours[$1] != "pass" { ours[$1] = $2; said_ours[$1] = $3; tries[$1]++ }
	END {
		for (i = 1; i <= n; i++) {
			t = name[i]
			print t, t in base ? base[t] : "no result",
			      t in ours ? ours[t] : "no result",
			      said_base[t] ? said_base[t] : "none",
			      said_ours[t] ? said_ours[t] : "none", tries[t] + 0
		}
	}' "$BUILD_PATH/regress/tests" "$out/base.tsv" "${tsv[@]}" > "$out/table"

passes=0
while IFS=$'\t' read -r name base ours said_base said_ours tries; do
	[ "$base" != pass ] || passes=$((passes + 1))
	also=
	[ "$tries" -lt 2 ] || also=", in run $tries of it"
	case $base/$ours in
	pass/pass)
		result ok "$name # base pass, ours pass$also" ;;
	pass/*)
		for run in "${runs[@]}"; do
			grep -B 14 -E "^not ok regress: $name( |\$)" "$out/$run/tap" |
				awk '/^(not )?ok / { if (NR > 1) n = 0 }
				     /^#/ { kept[++n] = $0 }
				     END { for (i = 1; i <= n; i++) print kept[i] }' || :
		done
		result "not ok" "$name # base pass, ours $ours: $said_ours ($tries runs)" ;;
	skip/skip)
		result ok "$name # SKIP on both: ${said_base#SKIP }" ;;
	*/pass)
		result ok "$name # base $base, ours pass" ;;
	*)
		result ok "$name # SKIP not on the base, either: $said_base, ours $ours" ;;
	esac
done < "$out/table"

for run in "${runs[@]}"; do
	judge_console "$run"
done
# If few tests pass on the base, the comparison is meaningless.
if [ -n "${TESTS:-}" ]; then
	:
elif [ "$passes" -ge 20 ]; then
	result ok "$passes tests pass on the base"
else
	tail -n 20 "$out/base/console" | sed 's/^/#   /'
	result "not ok" "$passes tests pass on the base, at least 20 should"
fi
echo "1..$count"
[ "$failures" -eq 0 ]
