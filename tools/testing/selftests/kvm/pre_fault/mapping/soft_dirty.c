// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY over memory that is tracked by soft-dirty bits.
 */
#define _GNU_SOURCE
#include "mapping.h"

#define NR_PAGES	1024
#define SIZE		(NR_PAGES * PAGE_SIZE)
#define BYTES(pages)	((pages) * PAGE_SIZE)

static bool is_soft_dirty(void *page)
{
	return pf_pagemap(page) & PAGEMAP_SOFT_DIRTY;
}

static void clear_soft_dirty(void)
{
	TEST_ASSERT(!pf_write_str("/proc/self/clear_refs", "4"),
		    "/proc/self/clear_refs");
}

/* Each write of the guest sets the soft-dirty bit of its page. */
void mapping_check_soft_dirty(enum pf_memory memory, uint32_t flags)
{
	void *mem = pf_mem(memory, SIZE, 1);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(flags, mem, SIZE);
	uint8_t plan[NR_PAGES] = {};
	unsigned int i;

	if (!is_soft_dirty(mem))
		pf_skip("no soft-dirty bits");
	clear_soft_dirty();
	TEST_ASSERT(!is_soft_dirty(mem), "the soft-dirty bit can't be cleared");

	pf_map_pages(vcpu, TEST_GPA, SIZE, NR_PAGES);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
	for (i = 0; i < NR_PAGES; i++)
		TEST_ASSERT(!is_soft_dirty(mem + BYTES(i)),
			    "page %u: the pre-fault was a write", i);

	for (i = 0; i < NR_PAGES; i += 3)
		plan[i] = 2;
	pf_plan(vcpu, plan, NR_PAGES);
	pf_guest(vcpu, PF_WRITE_PLAN, TEST_GPA, NR_PAGES, 0);
	for (i = 0; i < NR_PAGES; i++) {
		bool dirty = is_soft_dirty(mem + BYTES(i));

		TEST_ASSERT(dirty == !(i % 3), "page %u is %ssoft-dirty", i,
			    dirty ? "" : "not ");
	}
}

static void soft_dirty_anon(void)
{
	mapping_check_soft_dirty(PF_ANON, 0);
}

static void soft_dirty_memfd(void)
{
	mapping_check_soft_dirty(PF_MEMFD, 0);
}

const struct pf_test pf_soft_dirty_tests[] = {
	PF_TEST_BATCH(soft_dirty_anon),
	PF_TEST_BATCH(soft_dirty_memfd),
	{ }
};
