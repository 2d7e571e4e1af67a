// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY and what only RISC-V has.
 */
#define _GNU_SOURCE
#include <linux/mman.h>
#include <sys/mman.h>

#include "../pre_fault_memory.h"

#define NR_PAGES	1536
#define SIZE		(NR_PAGES * PAGE_SIZE)

static void batch_exec(void)
{
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, SIZE);

	pf_map_pages(vcpu, TEST_GPA, SIZE, NR_PAGES);
	pf_guest_no_fault(vcpu, PF_EXEC, TEST_GPA, NR_PAGES, 1, 0);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, 0);
}

/* Huge pages of the host that only hugetlb's owner may count on as such */
static void thp_mapped_4k(void)
{
	void *mem = pf_mem(PF_THP, SIZE, 1);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, SIZE);

	pf_map_pages(vcpu, TEST_GPA + 5 * PAGE_SIZE, PAGE_SIZE, 1);
	pf_map_pages(vcpu, TEST_GPA, SIZE, NR_PAGES - 1);
	pf_guest_no_fault(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 2, 0);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 2);
}

static void renew(void *mem, int flags)
{
	TEST_ASSERT(mmap(mem, SZ_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			 MAP_ANONYMOUS | MAP_FIXED | flags, -1, 0) == mem,
		    "mmap(): errno %d", errno);
}

/*
 * What was mapped with 4K leaves a page table behind, which gives way to a huge
 * page if there is nothing in it, and is filled if there is.
 */
static void hugetlb_for_page_table(void)
{
	void *mem = pf_mem(PF_HUGETLB_2M, 3 * SZ_2M, 1);
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	unsigned int i;

	for (i = 0; i < 2; i++)
		renew(mem + i * SZ_2M, 0);
	pf_fill(mem, TEST_GPA, 2 * SZ_2M, 2);
	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, 3 * SZ_2M,
				  mem);
	pf_map_pages(vcpu, TEST_GPA, 3 * SZ_2M, 3 * 512);

	for (i = 0; i < 2; i++)
		renew(mem + i * SZ_2M, MAP_HUGETLB | MAP_HUGE_2MB);
	pf_fill(mem, TEST_GPA, 2 * SZ_2M, 3);
	pf_map_pages(vcpu, TEST_GPA + 7 * PAGE_SIZE, PAGE_SIZE, 512);
	pf_map_pages(vcpu, TEST_GPA, 3 * SZ_2M, 512);
	pf_guest_no_fault(vcpu, PF_WRITE, TEST_GPA, 2 * 512, 4, 0);
	pf_guest_check(vcpu, TEST_GPA, 2 * 512, 4);
	pf_guest_check(vcpu, TEST_GPA + 2 * SZ_2M, 512, 1);
}

const struct pf_test pf_arch_tests[] = {
	PF_TEST(batch_exec),
	PF_TEST(thp_mapped_4k),
	PF_TEST(hugetlb_for_page_table),
	{ }
};
