#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Test tap.awk with made-up console logs, and print a TAP line for each, not numbered.
set -eu
cd "$(dirname "$0")"

failed=0

# check NAME WANTED: tap.awk's lines for the log on stdin, without "# " lines, must be
# WANTED
check()
{
	local got

	got=$(awk -v machine=m -v races=kcsan-known.txt -f tap.awk /dev/stdin |
		grep -v '^# ' || :)
	if [ "$got" = "$2" ]; then
		echo "ok scan: $1"
	else
		echo "not ok scan: $1"
		printf 'wanted:\n%s\ngot:\n%s\n' "$2" "$got" | sed 's/^/# /'
		failed=1
	fi
}

head_lines='[    0.100000] lab| TAP version 13
[    0.100001] lab| 1..2
[    0.100002] lab| ok 1 one'
tail_lines='[    0.300000] lab| ok 2 two
lab: exit status 0'
both='ok m: one
ok m: two'
fine="$both
ok m: ran to the end"

check clean_log "$fine
ok m: console clean" << EOF
$head_lines
[    0.200000] Memory failure: 0x1234: recovery action for dirty LRU page: Recovered
[    0.200001] kcsan: non-strict mode configured - use CONFIG_KCSAN_STRICT=y to see all data races
[    0.200002] lab| # the test itself may write BUG: and WARNING:
$tail_lines
EOF

while read -r name text; do
	check "$name" "$fine
not ok m: console clean" << EOF
$head_lines
[    0.200000] $text
$tail_lines
EOF
done << EOF
bug BUG: unable to handle page fault for address: ffff
bug_on kernel BUG at virt/kvm/kvm_main.c:1!
warn WARNING: CPU: 1 PID: 42 at arch/x86/kvm/mmu/mmu.c:1 f+0x1/0x2
oops Oops: 0000 [#1] PREEMPT SMP
panic Kernel panic - not syncing: Fatal exception
circular_lock WARNING: possible circular locking dependency detected
recursive_lock possible recursive locking detected
lock_state inconsistent lock state
lockdep_off INFO: lockdep is turned off.
rcu_usage suspicious RCU usage
rcu_stall rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
hung_task INFO: task pre_fault:42 blocked for more than 120 seconds.
soft_lockup watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [pre_fault:42]
atomic_sleep sleeping function called from invalid context at mm/gup.c:1
protection_fault general protection fault, probably for non-canonical address
kasan BUG: KASAN: use-after-free in kvm_arch_pre_fault_install+0x1/0x2
kcsan BUG: KCSAN: data-race in tdp_mmu_map / kvm_arch_pre_fault_install
list list_del corruption. prev->next should be ffff, but was dead
page_table kernel BUG at mm/page_table_check.c:1!
refcount refcount_t: underflow; use-after-free.
ubsan UBSAN: shift-out-of-bounds in mm/mmap.c:1:2
call_trace Call Trace:
EOF

check known_race "$fine
ok m: console clean" << EOF
$head_lines
[    0.200000] BUG: KCSAN: data-race in kvm_faultin_pfn+0x4c/0x620
$tail_lines
EOF

check known_race_with_another "$fine
not ok m: console clean" << EOF
$head_lines
[    0.200000] BUG: KCSAN: data-race in kvm_faultin_pfn / pre_fault_page
$tail_lines
EOF

check complaint_at_boot "$fine
not ok m: console clean" << EOF
[    0.000001] WARNING: CPU: 0 PID: 0 at init/main.c:1 start_kernel+0x1/0x2
$head_lines
$tail_lines
EOF

check no_end "ok m: one
not ok m: ran to the end
ok m: console clean" <<< "$head_lines"

check stopped_by_limit "ok m: one
not ok m: ran to the end
ok m: console clean" << EOF
$head_lines
lab: stopped after 900 s
EOF

check empty_log "not ok m: ran to the end
ok m: console clean" < /dev/null

check no_test "not ok m: ran to the end
ok m: console clean" <<< 'lab: exit status 0'

check program_missing "not ok m: ran to the end
ok m: console clean" << EOF
[    0.100000] lab| init: lab: /bin/pre_fault_test: No such file or directory
lab: exit status 127
EOF

check fewer_than_planned "ok m: one
not ok m: ran to the end
ok m: console clean" << EOF
$head_lines
lab: exit status 0
EOF

check status_alone "$both
not ok m: ran to the end
ok m: console clean" << EOF
$head_lines
${tail_lines%0}139
EOF

check failed_test "not ok m: one
ok m: two # SKIP no nested paging
ok m: three # SKIP not built in
ok m: ran to the end
ok m: console clean" << EOF
[    0.100000] lab| 1..3
[    0.100001] lab| # pre_fault_test.c:1: -1 where 0 was due
[    0.100002] lab| not ok 1 one
[    0.100003] lab| ok 2 two # SKIP no nested paging
[    0.100004] lab| ok 3 # SKIP three: not built in
lab: exit status 1
EOF

# tap.awk shows the lines around a complaint.
if awk -v machine=m -f tap.awk <(printf '%s\n' "$head_lines" before WARNING: \
	after "$tail_lines") | grep -cxE '#   (before|WARNING:|after)' |
	grep -qx 3; then
	echo "ok scan: context_shown"
else
	echo "not ok scan: context_shown"
	failed=1
fi

exit $failed
