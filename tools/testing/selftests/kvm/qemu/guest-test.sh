#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# In the lab's machine, as TAP: boot Linux with tools/kvm/pre_fault, save a snapshot,
# restore it, and check the stage-2 faults of each run.

snapshot=/tmp/snapshot
log=/tmp/log
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

# fewer MEMORY HOW PERCENT: succeed if the run with the pre-fault HOW took at most
# PERCENT of the faults of the run without one.
fewer()
{
	awk -v memory="$1" -v how="$2" -v percent="$3" '
	BEGIN { without = with = -1 }
	$1 == memory && $2 == "-" { without = $3 }
	$1 == memory && $0 ~ "^[a-z]+ +" how " " {
		with = $(how ~ / / ? 4 : 3)
	}
	END { exit !(without > 0 && with >= 0 && with * 100 <= without * percent) }
	' $log
}

# poke FILE OFFSET BYTES: overwrite FILE at OFFSET; BYTES is a format of printf
poke()
{
	# shellcheck disable=SC2059
	printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc 2> /dev/null
}

# refused NAME MESSAGE OPTIONS: check that pre_fault refuses OPTIONS with that message
refused()
{
	name=$1 message=$2
	shift 2
	timeout 10 pre_fault "$@" > $log 2>&1
	status=$?
	# 128 and more is a signal.
	[ $status -gt 0 ] && [ $status -lt 128 ] && grep -q -e "$message" $log
	result $? "$name"
	grep -q -e "$message" $log || sed 's/^/# /' $log
}

echo "TAP version 13"
echo "1..18"

boot_guest --memory 96M --backing anon --save $snapshot \
	--command 'cp /bin/busybox /copy; md5sum /copy' > $log 2>&1
result $? guest_boots_and_is_saved
sed 's/^/# /' $log
fewer anon all 1
result $? boot_takes_no_fault

# In the snapshot, the guest's answer comes before the memory.
sum=$(md5sum < /bin/busybox)
head -c 65536 $snapshot | grep -aq "${sum%% *}  /copy"
result $? guest_has_summed_up
# So does MSR 0x2ff, which enables the MTRRs.
head -c 65536 $snapshot | tr '\0' 0 |
	grep -aq "$(printf '\377\002000000\006[\010\014]')"
result $? mtrrs_are_saved

pre_fault --restore $snapshot --working-set /tmp/working-set > $log 2>&1
result $? restored_guest_answers_the_same
sed 's/^/# /' $log
# The guest's writes still fault, since each copies a page of the file.
fewer file all 80
result $? all_spares_reads
fewer file "working set" 2
result $? working_set_spares_faults

refused save_needs_kernel '--save need --kernel' --save /tmp/other
refused command_needs_save '--command needs --save' \
	--kernel /guest/bzImage --command ls
refused working_set_needs_restore 'needs --restore' --working-set /tmp/working-set
refused prompt_is_not_empty '--prompt: empty' --kernel /guest/bzImage --prompt ''
refused working_set_is_a_file 'Is a directory' --restore $snapshot --working-set /tmp

# A preferred address of the kernel whose sum with the size wraps, one in the memory that
# boot_load() uses, and a kernel with a size of 0 in its header
head -c 65536 /guest/bzImage > /tmp/kernel
poke /tmp/kernel 600 '\0\360\377\377\377\377\377\377'
refused kernel_below_0 'from 0xfffffffffffff000 on, not all' --kernel /tmp/kernel
poke /tmp/kernel 600 '\0\0\1\0\0\0\0\0'
refused kernel_below_1M 'from 0x10000 on, not all' --kernel /tmp/kernel
poke /tmp/kernel 608 '\0\0\0\0'
refused kernel_longer_than_said 'not as long' --kernel /tmp/kernel

# A snapshot without memory, one with the CPUID of another vendor, and one whose texts
# have no NUL: fill the file from the MSRs before the texts on.
head -c 2097152 $snapshot > /tmp/other
poke /tmp/other 8 '\0\0\0\0\0\0\0\0'
refused snapshot_without_memory 'not a snapshot' --restore /tmp/other
head -c 2097152 $snapshot > /tmp/other
truncate -s 98M /tmp/other
poke /tmp/other 40 other
refused snapshot_of_another_cpu 'another CPU' --restore /tmp/other
head -c 26000 $snapshot > /tmp/other
head -c 2097152 $snapshot | tail -c +26001 | tr '\0' x >> /tmp/other
truncate -s 98M /tmp/other
refused snapshot_without_nul 'not a snapshot' --restore /tmp/other
