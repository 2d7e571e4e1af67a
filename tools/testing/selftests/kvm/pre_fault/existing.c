// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY over what is mapped already: success, and not a bit of
 * it changed.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "pre_fault.h"

#define SIZE		(2 * SZ_2M)
#define NR_PAGES	(SIZE / PAGE_SIZE)

static struct kvm_vcpu *vcpu_with_memory(enum pf_backing backing)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, SIZE,
				  pf_mem(backing, SIZE, 1));
	return vcpu;
}

static void pre_fault_changes_nothing(struct kvm_vcpu *vcpu, uint64_t gpa,
				      uint64_t size)
{
	struct pf_stats before = pf_stats(vcpu), after;

	pf_map(vcpu, gpa, size);
	after = pf_stats(vcpu);
	TEST_ASSERT(!memcmp(&before, &after, sizeof(before)),
		    "pre-faulted %lu, fixed %lu, spurious %lu, 4K %+ld, 2M %+ld",
		    after.prefaulted - before.prefaulted,
		    after.fixed - before.fixed,
		    after.spurious - before.spurious,
		    (long)(after.pages_4k - before.pages_4k),
		    (long)(after.pages_2m - before.pages_2m));
}

/* Neither the writable nor the Accessed bit is lost: no fault of any kind. */
static void check_written(enum pf_backing backing)
{
	struct kvm_vcpu *vcpu = vcpu_with_memory(backing);

	pf_guest(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 2);
	pre_fault_changes_nothing(vcpu, TEST_GPA, SIZE);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 2, 0);
	pf_guest_no_fault(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 3, 0);
}

static void existing_untouched_4k(void)
{
	check_written(PF_ANON);
}

static void existing_untouched_2m(void)
{
	check_written(pf_huge);
}

/* A mapping that is read-only for the time being is no reason to redo it. */
static void existing_untouched_read_only(void)
{
	struct kvm_vcpu *vcpu = vcpu_with_memory(PF_FILE);

	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 1);
	pre_fault_changes_nothing(vcpu, TEST_GPA, SIZE);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, 0);
}

static void pre_fault_twice(void)
{
	struct kvm_vcpu *vcpu = vcpu_with_memory(PF_ANON);

	pf_map(vcpu, TEST_GPA, SIZE);
	pre_fault_changes_nothing(vcpu, TEST_GPA, SIZE);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
	pre_fault_changes_nothing(vcpu, TEST_GPA, SIZE);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, 0);
}

static void existing_2m_not_demoted(void)
{
	struct kvm_vcpu *vcpu = vcpu_with_memory(pf_huge);
	struct pf_stats d;

	d = pf_guest_stats(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 2);
	if (!pf_mapped_huge(&d, NR_PAGES))
		pf_skip("KVM does not map huge pages here");

	pre_fault_changes_nothing(vcpu, TEST_GPA + PAGE_SIZE, PAGE_SIZE);
	pre_fault_changes_nothing(vcpu, TEST_GPA + SZ_2M - PAGE_SIZE,
				  2 * PAGE_SIZE);
	pf_guest_no_fault(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 3, 0);
}

/*
 * A pre-fault skips the pages that the guest mapped and maps the others. With each
 * guest page fault the legacy MMU may map some pages around.
 */
static void existing_partly(void)
{
	struct kvm_vcpu *vcpu = vcpu_with_memory(PF_ANON);
	struct pf_stats before, d;
	uint64_t i, missing, untouched = NR_PAGES;

	pf_guest(vcpu, PF_WRITE, WARM_GPA, 1, 0);
	before = pf_stats(vcpu);
	for (i = 3; i < NR_PAGES; i += 27, untouched--)
		pf_guest(vcpu, PF_WRITE, TEST_GPA + i * PAGE_SIZE, 1, 1);
	d = pf_stats_since(vcpu, &before);
	missing = NR_PAGES - pf_mapped_by_guest(&d);

	before = pf_stats(vcpu);
	pf_map(vcpu, TEST_GPA, SIZE);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(pf_prefaulted(&d, missing) && pf_mapped(&d, missing, 0) &&
		    missing,
		    "%lu pages pre-faulted, %lu mapped, expected %lu",
		    d.prefaulted, d.pages_4k, missing);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, untouched);
}

/* A huge mapping goes beyond the range; the answer does not. */
static void sub_range_of_huge_page(void)
{
	struct kvm_vcpu *vcpu = vcpu_with_memory(pf_huge);
	struct pf_stats before = pf_stats(vcpu), d;

	pf_map(vcpu, TEST_GPA + 5 * PAGE_SIZE, PAGE_SIZE);
	d = pf_stats_since(vcpu, &before);
	if (d.prefaulted == 1)
		pf_skip("KVM does not map huge pages here");
	TEST_ASSERT(pf_mapped(&d, 0, 1) && pf_prefaulted(&d, 512),
		    "mapped %lu pages of 4K, %lu of 2M, counted %lu",
		    d.pages_4k, d.pages_2m, d.prefaulted);
	pre_fault_changes_nothing(vcpu, TEST_GPA, SZ_2M);

	/* From the middle of one into the middle of the next */
	pf_map(vcpu, TEST_GPA + SZ_2M / 2, SZ_2M);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(pf_mapped(&d, 0, 2) && pf_prefaulted(&d, 1024),
		    "mapped %lu pages of 4K, %lu of 2M, counted %lu",
		    d.pages_4k, d.pages_2m, d.prefaulted);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, 2);
}

static void pre_fault_as(struct kvm_vcpu *vcpu, uint64_t pages_4k,
			 uint64_t pages_2m)
{
	struct pf_stats before = pf_stats(vcpu), d;

	pf_map(vcpu, TEST_GPA, SZ_2M);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(pf_mapped(&d, pages_4k, pages_2m),
		    "mapped %ld pages of 4K and %ld of 2M, expected %lu and %lu",
		    (long)d.pages_4k, (long)d.pages_2m, pages_4k, pages_2m);
}

static bool itlb_workaround(void)
{
	FILE *f = fopen("/sys/module/kvm/parameters/nx_huge_pages", "r");
	bool on = f && fgetc(f) == 'Y';

	if (f)
		fclose(f);
	return on;
}

/* A page table that was emptied gives way to a huge page, as in a fault. */
static void huge_page_for_empty_page_table(void)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	void *mem = pf_mem(PF_THP, SIZE, 1);
	struct pf_stats d;

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, SIZE, mem);
	d = pf_guest_stats(vcpu, PF_WRITE, TEST_GPA, SZ_2M / PAGE_SIZE, 2);
	if (!pf_mapped_huge(&d, SZ_2M / PAGE_SIZE))
		pf_skip("KVM does not map huge pages here");

	/* The host splits its huge page, KVM drops the mapping. */
	TEST_ASSERT(!mprotect(mem, PAGE_SIZE, PROT_READ), "mprotect()");
	pre_fault_as(vcpu, SZ_2M / PAGE_SIZE, 0);

	/* A new huge page, where there is a page table with nothing in it */
	TEST_ASSERT(mmap(mem, SZ_2M, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == mem,
		    "mmap()");
	TEST_ASSERT(!madvise(mem, SZ_2M, MADV_HUGEPAGE), "madvise()");
	pf_fill(mem, TEST_GPA, SZ_2M, 3);

	/* To keep code out of huge pages, a page table is kept in any case. */
	if (itlb_workaround()) {
		pre_fault_as(vcpu, SZ_2M / PAGE_SIZE, 0);
		pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, SZ_2M / PAGE_SIZE, 3,
				  SZ_2M / PAGE_SIZE);
		return;
	}
	pre_fault_as(vcpu, 0, 1);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, SZ_2M / PAGE_SIZE, 3, 1);
}

const struct pf_test pf_existing_tests[] = {
	PF_TEST(existing_untouched_4k),
	PF_TEST(existing_untouched_2m),
	PF_TEST(existing_untouched_read_only),
	PF_TEST(existing_2m_not_demoted),
	PF_TEST(existing_partly),
	PF_TEST(pre_fault_twice),
	PF_TEST(sub_range_of_huge_page),
	PF_TEST(huge_page_for_empty_page_table),
	{ }
};
