#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# In the lab's machine, as TAP: restore Debian's QEMU without kvm-pre-fault and with, and
# check the table. stock fails if the guest's memory has wrong contents.
#
#   stock_test VCPUS...

table=/tmp/table
n=0

# result STATUS NAME
result()
{
	n=$((n + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $n $2"
	else
		echo "not ok $n $2"
	fi
}

# row MEMORY VCPUS CONDITION: check the numbers of a row, of which there is one
row()
{
	awk -v memory="$1" -v vcpus="$2" '
	$1 == memory && $2 == vcpus && NF == 7 {
		rows++
		without = $3; with = $4; ms_without = $5; ms_with = $6; ms = $7
		if (!('"$3"'))
			bad = 1
	}
	END { exit bad || rows != 1 }' $table
}

echo "TAP version 13"
echo "1..$((1 + 8 * $#))"

stock "$@" > $table 2> /tmp/errors
result $? stock_contents_are_right
sed 's/^/# /' $table /tmp/errors

for vcpus; do
	for memory in anon thp file template private; do
		row $memory $vcpus 'ms_with < ms_without && ms > 0'
		result $? stock_${memory}_${vcpus}_is_cheaper
	done
	# All that the guest touches is present and writable.
	for memory in thp file template; do
		row $memory $vcpus 'without > 20 && with <= 10'
		result $? stock_${memory}_${vcpus}_takes_no_fault
	done
done
