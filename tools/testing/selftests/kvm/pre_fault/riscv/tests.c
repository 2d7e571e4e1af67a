// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY: tests for RISC-V only, most of them of KVM's own faults, which
 * a pre-fault meets as a guest page fault does.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "../pre_fault.h"

#define NR_PAGES	1536
#define SIZE		(NR_PAGES * PAGE_SIZE)

/* Page tables that a test lets KVM make, and the memory that may be lost meanwhile */
#define NR_TABLES	8192
#define MAX_LOST_KB	(NR_TABLES * 4 / 2)
#define NR_SLOTS_2M	128

/* Pre-faulted memory can be executed. */
static void exec_pre_faulted(void)
{
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, SIZE);

	pf_map_pages(vcpu, TEST_GPA, SIZE, NR_PAGES);
	pf_guest_no_fault(vcpu, PF_EXEC, TEST_GPA, NR_PAGES, 1, 0);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, 0);
}

/*
 * An invalidation that begins in the middle of a large leaf unmaps that leaf, and the
 * leaves after it.
 */
static void unmap_from_middle_of_leaf(void)
{
	void *mem = pf_mem(PF_THP, SIZE, 1);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, SIZE);

	pf_map(vcpu, TEST_GPA, SIZE);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 1);

	TEST_ASSERT(!madvise(mem + SZ_2M / 2, SIZE - SZ_2M / 2, MADV_DONTNEED),
		    "MADV_DONTNEED: errno %d", errno);
	pf_fill(mem + SZ_2M / 2, TEST_GPA + SZ_2M / 2, SIZE - SZ_2M / 2, 2);
	pf_guest_check(vcpu, TEST_GPA, 256, 1);
	pf_guest_check(vcpu, TEST_GPA + SZ_2M / 2, NR_PAGES - 256, 2);
}

/*
 * With dirty logging, the first write to a page that the guest has only read copies a
 * page that the host maps read-only, as without.
 */
static void dirty_log_write_copies(void)
{
	int fd = pf_memfd(SIZE);
	void *file = pf_map_memory(PF_MEMFD, NULL, SIZE, fd, 0);
	struct kvm_vcpu *vcpu;
	void *mem;

	pf_fill(file, TEST_GPA, SIZE, 1);
	mem = pf_map_memory(PF_MEMFD_PRIVATE, NULL, SIZE, fd, 0);
	vcpu = pf_memory_vcpu(KVM_MEM_LOG_DIRTY_PAGES, mem, SIZE);

	pf_map(vcpu, TEST_GPA, SIZE / 2);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 1);
	pf_guest(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 2);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 2);
	TEST_ASSERT(pf_page_is(file, TEST_GPA, 1) &&
		    pf_page_is(file + SIZE - PAGE_SIZE, TEST_GPA + SIZE - PAGE_SIZE, 1),
		    "the guest has written to the file of a private mapping");
}

/* Free memory, with that on the lists of the CPUs, which may be many megabytes */
static long free_kb(void)
{
	FILE *file = fopen("/proc/zoneinfo", "r");
	long n, pages = 0;
	char line[128];

	TEST_ASSERT(file, "/proc/zoneinfo: errno %d", errno);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, " nr_free_pages %ld", &n) == 1 ||
		    sscanf(line, " count: %ld", &n) == 1)
			pages += n;
	fclose(file);
	return pages * (PAGE_SIZE / 1024);
}

/* Page tables are freed with a delay. */
static void check_lost(long before, long max_kb)
{
	unsigned int i;
	long lost = 0;

	for (i = 0; i < 100; i++) {
		lost = before - free_kb();
		if (lost < max_kb)
			return;
		usleep(50000);
	}
	TEST_FAIL("%ld kB were lost", lost);
}

static void map_sparse(const void *mem)
{
	struct kvm_vcpu *vcpu = pf_raw_vcpu();
	unsigned int i;

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, NR_SLOTS_2M * SZ_2M,
				  (void *)mem);
	for (i = 0; i < NR_SLOTS_2M; i++)
		pf_map(vcpu, TEST_GPA + i * SZ_2M, PAGE_SIZE);
}

/* The end of a VM frees its page tables. */
static void tables_end_with_vm(void)
{
	void *mem = pf_map_memory(PF_ANON, NULL, NR_SLOTS_2M * SZ_2M, -1, 0);
	unsigned int i;
	long before = 0;

	TEST_ASSERT(!madvise(mem, NR_SLOTS_2M * SZ_2M, MADV_NOHUGEPAGE), "madvise()");
	pf_in_child(map_sparse, mem);
	before = free_kb();
	for (i = 0; i < NR_TABLES / NR_SLOTS_2M; i++)
		TEST_ASSERT(!pf_in_child(map_sparse, mem),
			    "the child failed");
	check_lost(before, MAX_LOST_KB);
}

/* Map a page of @mem with 4K, and let the host drop it: the table stays, empty. */
static void make_empty_table(struct kvm_vcpu *vcpu, void *mem, uint64_t gpa)
{
	TEST_ASSERT(!madvise(mem, SZ_2M, MADV_DONTNEED) &&
		    !madvise(mem, SZ_2M, MADV_NOHUGEPAGE), "madvise()");
	WRITE_ONCE(*(uint64_t *)mem, 1);
	pf_map(vcpu, gpa, PAGE_SIZE);
	TEST_ASSERT(!madvise(mem, SZ_2M, MADV_DONTNEED) &&
		    !madvise(mem, SZ_2M, MADV_HUGEPAGE), "madvise()");
	pf_fill(mem, gpa, SZ_2M, 1);
}

/* A large leaf in the place of a page table frees the table. */
static void leaf_replaces_table(void)
{
	void *mem = pf_map_memory(PF_THP, NULL, 4 * SZ_2M, -1, 0);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, 4 * SZ_2M);
	unsigned int i;
	long before = 0;

	for (i = 0; i < NR_TABLES / 4; i++) {
		uint64_t offset = i % 4 * SZ_2M;

		if (i == 4)
			before = free_kb();
		make_empty_table(vcpu, mem + offset, TEST_GPA + offset);
		if (i & 4)
			pf_map_pages(vcpu, TEST_GPA + offset, PAGE_SIZE, 512);
		else
			pf_guest_check(vcpu, TEST_GPA + offset, 1, 1);
	}
	pf_guest_check(vcpu, TEST_GPA, 4 * 512, 1);
	check_lost(before, MAX_LOST_KB / 4);
}

/* A page table in use is filled by a pre-fault, and not replaced by a large leaf. */
static void thp_mapped_4k(void)
{
	void *mem = pf_mem(PF_THP, SIZE, 1);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(KVM_MEM_LOG_DIRTY_PAGES, mem, SIZE);

	pf_map_pages(vcpu, TEST_GPA + 5 * PAGE_SIZE, PAGE_SIZE, 1);
	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, SIZE, mem);
	pf_map_pages(vcpu, TEST_GPA, SIZE, NR_PAGES - 1);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 1);
	pf_guest(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 2);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 2);
}

const struct pf_test pf_arch_tests[] = {
	PF_TEST_BATCH(exec_pre_faulted),
	PF_TEST(unmap_from_middle_of_leaf),
	PF_TEST(dirty_log_write_copies),
	PF_TEST(tables_end_with_vm),
	PF_TEST(leaf_replaces_table),
	PF_TEST_BATCH(thp_mapped_4k),
	{ }
};
