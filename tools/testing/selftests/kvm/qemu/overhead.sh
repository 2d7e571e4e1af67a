#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# As TAP, compare the cost of a guest's faults and exits on the base kernel and on ours,
# without a call of the ioctl: the numbers of instructions may differ by half a
# percent.
#
#   overhead.sh MACHINE...
#
# Environment: BUILD_PATH and BASE_BUILD, where the two kernels are,
# KERNEL_IMAGE.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=$BUILD_PATH/overhead
limit=600
most=0.5

# boot MACHINE KERNEL
boot()
{
	local path=$BUILD_PATH dir=$out/$1-$2 args=''

	[ "$2" = ours ] || path=$BASE_BUILD
	# With the default size, one timer tick would be 0.2 % of the cost.
	case $1 in
	arm64*)	args="-b 16M" ;;
	esac
	mkdir -p "$dir"
	# shellcheck disable=SC2086
	if ! KERNEL=$path/kernel/$KERNEL_IMAGE LIMIT=$limit MODE=show \
	     INITRD=$BUILD_PATH/initramfs.cpio.gz \
		"$here/boot.sh" "$1" "$dir" pre_fault_overhead_test $args \
		> "$dir/output" 2> "$dir/boot"; then
		tail -n 20 "$dir/console" "$dir/output" | sed 's/^/# /'
	fi
	tr -d '\r' < "$dir/output" | sed -n "s/^overhead,/$1,$2,/p" > "$dir/csv"
}

trap 'kill $(jobs -p) 2> /dev/null || :; wait' EXIT
trap 'exit 130' INT TERM

rm -rf "$out"
mkdir -p "$out"
echo "TAP version 13"
for machine; do
	boot "$machine" base &
	boot "$machine" ours &
	wait
done

cat "$out"/*/csv | awk -F , -v most="$most" -v machines="$*" '
{
	key = $1 ": " $3 " " $4
	if (!(key in seen))
		name[++n] = key
	seen[key] = 1
	events[$2, key] = $5
	cost[$2, key] = $6
	if ($2 == "base")
		rows[$1]++
}
END {
	for (i = 1; i <= n; i++) {
		key = name[i]
		b = cost["base", key]
		o = cost["ours", key]
		percent = b ? (o / b - 1) * 100 : 100
		# This is also bad if only one kernel has the result.
		bad = percent > most || percent < -most ||
		      events["base", key] != events["ours", key]
		failed += bad
		printf "%sok - overhead: %s # base %.1f, ours %.1f, %+.2f %% (%d events)\n",
		       bad ? "not " : "", key, b, o, percent, events["base", key]
	}
	# A machine with few results has failed.
	m = split(machines, machine, " ")
	for (i = 1; i <= m; i++) {
		bad = rows[machine[i]] < 12
		failed += bad
		printf "%sok - overhead: %s: %d results\n",
		       bad ? "not " : "", machine[i], rows[machine[i]]
	}
	print "1.." n + m
	exit !!failed
}'
