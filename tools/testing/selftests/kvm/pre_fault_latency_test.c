// SPDX-License-Identifier: GPL-2.0-only
/*
 * Check the bounds of the latency that KVM_PRE_FAULT_MEMORY adds, with a memslot of
 * 1 TiB over little memory: the response to signals, the lock hold times, and the
 * cgroup charge of page tables.
 *
 * The limits are those of the documentation. They hold for a clock that counts
 * instructions, as that of QEMU with "-icount shift=0,sleep=off"; under an
 * emulator with another clock -s gives them room.
 */
#include "pre_fault/latency/latency.h"

static const struct pf_group groups[] = {
	{ "latency/signals", pf_latency_signal_tests },
	{ "latency/locks", pf_latency_lock_tests },
	{ "latency/cgroup", pf_latency_cgroup_tests },
};

int main(int argc, char *argv[])
{
	return pf_main(argc, argv, groups, ARRAY_SIZE(groups));
}
