// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY over pages that KSM has merged: they stay merged.
 */
#define _GNU_SOURCE
#include "mapping.h"

#define NR_PAGES	1024
#define SIZE		(NR_PAGES * PAGE_SIZE)
#define BYTES(pages)	((pages) * PAGE_SIZE)

/* A write of the guest copies the page: the other page of the pair is unchanged. */
void mapping_check_ksm(uint32_t flags)
{
	uint64_t nr = NR_PAGES / 2, i;
	struct kvm_vcpu *vcpu;
	void *mem, *twins;
	struct pf_stats d;
	long merged;

	pf_ksm_start();
	mem = pf_mem(PF_ANON, SIZE, 1);
	twins = pf_mem(PF_ANON, SIZE, 1);
	vcpu = pf_memory_vcpu(flags, mem, SIZE);
	madvise(twins, BYTES(nr), MADV_MERGEABLE);
	madvise(mem, BYTES(nr), MADV_MERGEABLE);
	pf_ksm_scan();
	pf_ksm_stop();
	merged = pf_ksm_merged();
	TEST_ASSERT(merged > 0, "no page was merged");

	pf_map_pages(vcpu, TEST_GPA, SIZE, NR_PAGES);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
	TEST_ASSERT(pf_ksm_merged() == merged, "%ld of %ld pages still merged",
		    pf_ksm_merged(), merged);

	d = pf_guest_stats(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 2);
	TEST_ASSERT(d.taken >= merged, "%lu faults for writes to %ld merged pages",
		    d.taken, merged);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 2);
	for (i = 0; i < NR_PAGES; i++) {
		uint64_t gpa = TEST_GPA + BYTES(i);

		TEST_ASSERT(pf_page_is(twins + BYTES(i), gpa, 1),
			    "page %lu: the guest wrote to the twin", i);
		TEST_ASSERT(pf_page_is(mem + BYTES(i), gpa, 2),
			    "page %lu: the guest's write is lost", i);
	}
}

static void ksm(void)
{
	mapping_check_ksm(0);
}

const struct pf_test pf_ksm_tests[] = {
	PF_TEST_BATCH(ksm),
	{ }
};
