// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY of a part of a page table, and of memory that is not aligned to
 * page tables.
 */
#define _GNU_SOURCE
#include "mapping.h"

#define NR_PAGES	1536
#define SIZE		(NR_PAGES * PAGE_SIZE)
#define BYTES(pages)	((pages) * PAGE_SIZE)

/* Check that the guest's read of a page faults, if the page is in the memslot. */
static uint64_t check_unmapped(struct kvm_vcpu *vcpu, int64_t page)
{
	struct pf_stats d;

	if (page < 0 || page >= NR_PAGES)
		return 0;

	d = pf_guest_stats(vcpu, PF_READ, TEST_GPA + BYTES(page), 1, 1);
	TEST_ASSERT(d.taken && pf_mapped_by_guest(&d),
		    "page %ld was mapped, too", page);
	return pf_mapped_by_guest(&d);
}

static void partial_ranges(void)
{
	static const struct {
		uint64_t first;
		uint64_t nr;
	} ranges[] = {
		{ 0, 1 }, { 1, 1 }, { 511, 1 }, { 512, 1 }, { 1535, 1 },
		{ 0, 511 }, { 1, 511 }, { 1, 510 }, { 512, 512 }, { 5, 7 },
		{ 511, 2 }, { 500, 24 }, { 511, 514 }, { 300, 512 }, { 3, 1200 },
	};
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, SIZE);
	uint64_t mapped, gpa, nr;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		nr = ranges[i].nr;
		gpa = TEST_GPA + BYTES(ranges[i].first);

		pf_renew_slot(vcpu->vm, SIZE, mem);
		pf_map_pages(vcpu, gpa, BYTES(nr), nr);
		pf_guest_no_fault(vcpu, PF_WRITE, gpa, nr, 1, nr);

		/*
		 * With the first page, the legacy MMU may map the second one, too.
		 */
		mapped = check_unmapped(vcpu, ranges[i].first - 1);
		if (mapped < 2)
			mapped += check_unmapped(vcpu, ranges[i].first + nr);
		mapped += nr;

		pf_map_pages(vcpu, TEST_GPA, SIZE, NR_PAGES - mapped);
		pf_map_pages(vcpu, TEST_GPA, SIZE, 0);
		pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 1);
	}
}

/* Pre-fault every third page, then every second, then all. */
static void sieve(void)
{
	static const unsigned int steps[] = { 3, 2, 1 };
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, pf_mem(PF_ANON, SIZE, 1), SIZE);
	bool mapped[NR_PAGES] = {};
	unsigned int i, page;

	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		for (page = 0; page < 600; page += steps[i]) {
			pf_map_pages(vcpu, TEST_GPA + BYTES(page), PAGE_SIZE,
				     mapped[page] ? 0 : 1);
			mapped[page] = true;
		}
	}
	pf_map_pages(vcpu, TEST_GPA, SIZE, NR_PAGES - 600);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
}

/* Shuffle the huge pages, which may be contiguous in physical memory. */
static void shuffle(void *mem)
{
	static const unsigned int order[] = { 1, 0, 2 };
	unsigned int i;

	TEST_ASSERT(!madvise(mem, SIZE, MADV_DONTNEED), "madvise()");
	for (i = 0; i < ARRAY_SIZE(order); i++)
		pf_fill(mem + order[i] * SZ_2M, TEST_GPA, SZ_2M, 1);
	TEST_ASSERT(pf_smaps(mem, SIZE, "AnonHugePages") * 1024 == SIZE,
		    "no huge pages");
}

/*
 * If gpa and hva are not congruent, the host's page tables and huge pages end in the
 * middle of the guest's.
 */
void mapping_check_incongruent(enum pf_memory memory)
{
	static const struct {
		uint64_t gpa_page;
		uint64_t hva_page;
	} shifts[] = {
		{ 0, 1 }, { 0, 511 }, { 3, 40 }, { 511, 0 }, { 256, 512 },
	};
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	void *mem = pf_mem(memory, SIZE, 1);
	uint64_t nr, gpa, unlike;
	unsigned int i;

	if (memory == PF_THP)
		shuffle(mem);

	for (i = 0; i < ARRAY_SIZE(shifts); i++) {
		gpa = TEST_GPA + BYTES(shifts[i].gpa_page);
		nr = NR_PAGES - shifts[i].hva_page;
		unlike = shifts[i].gpa_page - shifts[i].hva_page;

		pf_fill(mem + BYTES(shifts[i].hva_page), gpa, BYTES(nr), i);
		vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, gpa, BYTES(nr),
					  mem + BYTES(shifts[i].hva_page));
		TEST_ASSERT(unlike % 512, "gpa and hva are congruent");

		pf_map_pages(vcpu, gpa, BYTES(nr), nr);
		pf_guest_no_fault(vcpu, PF_READ, gpa, nr, i, nr);
		pf_guest_no_fault(vcpu, PF_WRITE, gpa, nr, i + 1, nr);
		pf_guest_check(vcpu, gpa, nr, i + 1);
		vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, gpa, 0, NULL);
	}
}

static void incongruent_anon(void)
{
	mapping_check_incongruent(PF_ANON);
}

static void incongruent_memfd(void)
{
	mapping_check_incongruent(PF_MEMFD);
}

const struct pf_test pf_range_tests[] = {
	PF_TEST_BATCH(partial_ranges),
	PF_TEST_BATCH(sieve),
	PF_TEST_BATCH(incongruent_anon),
	PF_TEST_BATCH(incongruent_memfd),
	{ }
};
