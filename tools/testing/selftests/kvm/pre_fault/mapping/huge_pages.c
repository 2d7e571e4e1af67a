// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY over huge pages, THP and hugetlb: mapped as huge pages where a
 * guest's fault would do so, and only once.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "mapping.h"

#define SIZE		(2 * SZ_2M)
#define NR_PAGES	(SIZE / PAGE_SIZE)

static void guest_takes_no_fault_anon_thp(void)
{
	mapping_check_like_guest(PF_THP, SIZE);
}

static void guest_takes_no_fault_hugetlb_2m(void)
{
	mapping_check_like_guest(PF_HUGETLB_2M, SIZE);
}

/* The machine has at most one 1G page: the guest maps it first, then the ioctl. */
static void maps_1g_page(void)
{
	void *mem = pf_mem(PF_HUGETLB_1G, SZ_1G, 1);
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	uint64_t gpa = TEST_GPA + SZ_1G;
	struct pf_stats before, d;

	pf_arch_map(vcpu->vm, gpa, SZ_1G);
	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, gpa, SZ_1G, mem);
	before = pf_stats(vcpu);
	pf_guest(vcpu, PF_READ, gpa, 1, 1);
	d = pf_stats_since(vcpu, &before);
	if (pf_counts_mappings && !d.pages_1g)
		pf_skip("KVM does not map 1G pages here");

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, gpa, 0, NULL);
	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, gpa, SZ_1G, mem);
	before = pf_stats(vcpu);
	pf_map(vcpu, gpa + SZ_2M, PAGE_SIZE);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(d.pages_1g == pf_counts_mappings && !d.pages_2m &&
		    !d.pages_4k && pf_prefaulted(&d, SZ_1G / PAGE_SIZE),
		    "mapped %lu/%lu/%lu pages of 4K/2M/1G, counted %lu",
		    d.pages_4k, d.pages_2m, d.pages_1g, d.prefaulted);
}

static void existing_2m_not_demoted(void)
{
	struct kvm_vcpu *vcpu = pf_vcpu_with(pf_huge, SIZE);
	struct pf_stats d;

	d = pf_guest_stats(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 2);
	if (!pf_mapped_huge(&d, NR_PAGES))
		pf_skip("KVM does not map huge pages here");

	mapping_changes_nothing(vcpu, TEST_GPA + PAGE_SIZE, PAGE_SIZE);
	mapping_changes_nothing(vcpu, TEST_GPA + SZ_2M - PAGE_SIZE, 2 * PAGE_SIZE);
	pf_guest_no_fault(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 3, 0);
}

/* A huge mapping may exceed the range; the reported progress does not. */
static void sub_range_of_huge_page(void)
{
	struct kvm_vcpu *vcpu = pf_vcpu_with(pf_huge, SIZE);
	struct pf_stats before = pf_stats(vcpu), d;

	pf_map(vcpu, TEST_GPA + 5 * PAGE_SIZE, PAGE_SIZE);
	d = pf_stats_since(vcpu, &before);
	if (d.prefaulted == 1)
		pf_skip("KVM does not map huge pages here");
	TEST_ASSERT(pf_mapped(&d, 0, 1) && pf_prefaulted(&d, 512),
		    "mapped %lu pages of 4K, %lu of 2M, counted %lu",
		    d.pages_4k, d.pages_2m, d.prefaulted);
	mapping_changes_nothing(vcpu, TEST_GPA, SZ_2M);

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

static void map_new_huge_page(void *mem, uint64_t gpa, uint64_t seed)
{
	TEST_ASSERT(mmap(mem, SZ_2M, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == mem,
		    "mmap()");
	TEST_ASSERT(!madvise(mem, SZ_2M, MADV_HUGEPAGE), "madvise()");
	pf_fill(mem, gpa, SZ_2M, seed);
}

/* A huge page replaces an empty page table, as in a fault. */
static void huge_page_for_empty_page_table(void)
{
	void *mem = pf_mem(PF_THP, SIZE, 1);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, SIZE);
	struct pf_stats d;

	d = pf_guest_stats(vcpu, PF_WRITE, TEST_GPA, SZ_2M / PAGE_SIZE, 2);
	if (!pf_mapped_huge(&d, SZ_2M / PAGE_SIZE))
		pf_skip("KVM does not map huge pages here");

	/* The host splits its huge page, KVM drops the mapping. */
	TEST_ASSERT(!mprotect(mem, PAGE_SIZE, PROT_READ), "mprotect()");
	pre_fault_as(vcpu, SZ_2M / PAGE_SIZE, 0);

	/* KVM has an empty page table there now. */
	map_new_huge_page(mem, TEST_GPA, 3);

	/* With NX huge pages, KVM does not replace a page table. */
	if (pf_read_bool("/sys/module/kvm/parameters/nx_huge_pages")) {
		pre_fault_as(vcpu, SZ_2M / PAGE_SIZE, 0);
		pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, SZ_2M / PAGE_SIZE, 3,
				  SZ_2M / PAGE_SIZE);
		return;
	}
	pre_fault_as(vcpu, 0, 1);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, SZ_2M / PAGE_SIZE, 3, 1);
}

/*
 * Huge pages one after the other: the host maps the third by a page table, KVM has
 * mapped the fifth already, and has an empty page table in the place of the seventh.
 */
static void huge_pages_in_a_row(void)
{
	const size_t size = 8 * SZ_2M, nr = SZ_2M / PAGE_SIZE;
	void *mem = pf_mem(PF_THP, size, 1);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, size);
	bool nx = pf_read_bool("/sys/module/kvm/parameters/nx_huge_pages");
	struct pf_stats first = pf_stats(vcpu), before, d;

	pf_map(vcpu, TEST_GPA + 4 * SZ_2M, SZ_2M);
	d = pf_stats_since(vcpu, &first);
	if (!pf_mapped_huge(&d, nr))
		pf_skip("KVM does not map huge pages here");

	TEST_ASSERT(!mprotect(mem + 2 * SZ_2M, PAGE_SIZE, PROT_READ), "mprotect()");
	TEST_ASSERT(!mprotect(mem + 6 * SZ_2M, PAGE_SIZE, PROT_READ), "mprotect()");
	pf_map(vcpu, TEST_GPA + 6 * SZ_2M, SZ_2M);
	map_new_huge_page(mem + 6 * SZ_2M, TEST_GPA + 6 * SZ_2M, 1);

	before = pf_stats(vcpu);
	pf_map(vcpu, TEST_GPA, size);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(pf_prefaulted(&d, 7 * nr), "%lu pages pre-faulted", d.prefaulted);
	d = pf_stats_since(vcpu, &first);
	TEST_ASSERT(nx ? pf_mapped(&d, 2 * nr, 6) : pf_mapped(&d, nr, 7),
		    "mapped %lu pages of 4K, %lu of 2M", d.pages_4k, d.pages_2m);

	mapping_changes_nothing(vcpu, TEST_GPA, size);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, 8 * nr, 1, nx ? 6 + 2 * nr : 7 + nr);
}

static void incongruent_thp(void)
{
	mapping_check_incongruent(PF_THP);
}

static void incongruent_hugetlb(void)
{
	mapping_check_incongruent(PF_HUGETLB_2M);
}

const struct pf_test pf_huge_page_tests[] = {
	PF_TEST(guest_takes_no_fault_anon_thp),
	PF_TEST(guest_takes_no_fault_hugetlb_2m),
	PF_TEST(maps_1g_page),
	PF_TEST(existing_2m_not_demoted),
	PF_TEST(sub_range_of_huge_page),
	PF_TEST(huge_page_for_empty_page_table),
	PF_TEST(huge_pages_in_a_row),
	PF_TEST_BATCH(incongruent_thp),
	PF_TEST_BATCH(incongruent_hugetlb),
	{ }
};
