// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY in the statistics of the vCPU and of its VM.
 */
#define _GNU_SOURCE
#include "../pre_fault.h"

#define NR_PAGES	16
#define SIZE		(NR_PAGES * PAGE_SIZE)

static void stats(void)
{
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, pf_mem(PF_ANON, SIZE, 0), SIZE);
	struct pf_stats before, d;

	before = pf_stats(vcpu);
	TEST_ASSERT(pf_counts_prefaults, "no vCPU statistic pf_prefaulted");
	pf_map(vcpu, TEST_GPA, SIZE);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(pf_prefaulted(&d, NR_PAGES), "pf_prefaulted: %lu for %d pages",
		    d.prefaulted, NR_PAGES);
	TEST_ASSERT(pf_mapped(&d, NR_PAGES, 0), "%lu pages of 4K mapped",
		    d.pages_4k);

	/* Pages that are mapped already or are in no memslot are not counted. */
	pf_map(vcpu, TEST_GPA, SIZE);
	pf_expect(vcpu, TEST_GPA + SIZE, SIZE, ENOENT, 0);
	pf_expect(vcpu, TEST_GPA, SIZE + PAGE_SIZE, 0, SIZE);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(pf_prefaulted(&d, NR_PAGES), "pf_prefaulted: %lu for %d pages",
		    d.prefaulted, NR_PAGES);
	TEST_ASSERT(!d.taken && !d.emulate && !d.spurious && !d.fast,
		    "pf_taken %lu, pf_emulate %lu, pf_spurious %lu, pf_fast %lu",
		    d.taken, d.emulate, d.spurious, d.fast);

	/* pf_prefaulted does not count the guest's own faults. */
	before = pf_stats(vcpu);
	pf_guest(vcpu, PF_WRITE, WARM_GPA, 1, 0);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 0);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(!d.prefaulted, "pf_prefaulted: %lu for the guest's faults",
		    d.prefaulted);
}

const struct pf_test pf_stats_tests[] = {
	PF_TEST(stats),
	{ }
};
