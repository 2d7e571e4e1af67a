// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY and reclaim: a pre-fault without a guest access leaves pages as
 * reclaimable as before, and no write of the guest is lost.
 */
#define _GNU_SOURCE
#include "../pre_fault.h"

#define NR_PAGES	1024
#define SIZE		(NR_PAGES * PAGE_SIZE)

/* Bits of /proc/kpageflags */
#define KPF_REFERENCED	BIT_ULL(2)
#define KPF_DIRTY	BIT_ULL(4)
#define KPF_ACTIVE	BIT_ULL(6)

/* Holes of a file that were only read: writable on the host, and clean. */
static void *clean_memfd(void)
{
	int fd = pf_memfd(SIZE);
	void *mem = pf_map_memory(PF_MEMFD, NULL, SIZE, fd, 0);

	close(fd);
	TEST_ASSERT(!madvise(mem, SIZE, MADV_POPULATE_READ), "MADV_POPULATE_READ");
	return mem;
}

/* Skip without batches: x86's path for one page maps like a guest's read. */
static void need_batches(void)
{
	const char *tdp_mmu = "/sys/module/kvm/parameters/tdp_mmu";

	if (!access(tdp_mmu, F_OK) && !pf_read_bool(tdp_mmu))
		pf_skip("no TDP MMU, which has batches");
}

static unsigned int nr_present(void *mem)
{
	unsigned int i, nr = 0;

	for (i = 0; i < NR_PAGES; i++)
		nr += !!(pf_pagemap(mem + i * PAGE_SIZE) & PAGEMAP_PRESENT);
	return nr;
}

/* Repeat: until 6.8, MADV_PAGEOUT skips accessed pages, and clears the mark. */
static void page_out(void *mem)
{
	unsigned int i;

	for (i = 0; i < 4 && nr_present(mem); i++)
		TEST_ASSERT(!madvise(mem, SIZE, MADV_PAGEOUT), "MADV_PAGEOUT");
}

/* Reclaim pages that are clean on the host, but that the guest has written. */
static void reclaim_keeps_writes(void)
{
	struct kvm_vcpu *vcpu;
	unsigned int i;
	void *mem;

	pf_need_swap();
	mem = clean_memfd();
	vcpu = pf_memory_vcpu(0, mem, SIZE);

	pf_map(vcpu, TEST_GPA, SIZE);
	pf_guest(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 7);

	page_out(mem);
	TEST_ASSERT(nr_present(mem) < NR_PAGES / 2, "%u of %u pages stay",
		    nr_present(mem), NR_PAGES);
	for (i = 0; i < NR_PAGES; i++)
		TEST_ASSERT(pf_page_is(mem + i * PAGE_SIZE,
				       TEST_GPA + i * PAGE_SIZE, 7),
			    "page %u: write lost", i);
}

/* The host reclaims lazily freed memory, even after a pre-fault. */
static void check_lazyfree(void *mem)
{
	struct kvm_vcpu *vcpu;
	unsigned int i, kept = 0;

	need_batches();
	if (!PF_KEEPS_LAZYFREE)
		pf_skip("KVM marks each page dirty that it maps writable");
	vcpu = pf_memory_vcpu(0, mem, SIZE);

	TEST_ASSERT(!madvise(mem, SIZE, MADV_FREE), "MADV_FREE");
	pf_map(vcpu, TEST_GPA, SIZE);
	page_out(mem);

	for (i = 0; i < NR_PAGES; i++)
		kept += pf_page_is(mem + i * PAGE_SIZE, TEST_GPA + i * PAGE_SIZE, 1);
	/* Some pages may still be in a per-CPU batch. */
	TEST_ASSERT(kept < NR_PAGES / 8, "%u of %u pages are kept", kept, NR_PAGES);
}

static void reclaim_lazyfree(void)
{
	check_lazyfree(pf_mem(PF_ANON, SIZE, 1));
}

static void reclaim_lazyfree_thp(void)
{
	check_lazyfree(pf_mem(PF_THP, SIZE, 1));
}

static void read_flags(void *mem, uint64_t *flags)
{
	int fd = open("/proc/kpageflags", O_RDONLY);
	uint64_t pfn;
	unsigned int i;

	if (fd < 0)
		pf_skip("no /proc/kpageflags");
	for (i = 0; i < NR_PAGES; i++) {
		pfn = pf_pagemap(mem + i * PAGE_SIZE) & PAGEMAP_PFN;
		TEST_ASSERT(pfn && pread(fd, &flags[i], sizeof(*flags),
					 pfn * sizeof(*flags)) == sizeof(*flags),
			    "flags of page %u", i);
	}
	close(fd);
}

static void check_flags(void *mem, uint64_t mask)
{
	uint64_t before[NR_PAGES], after[NR_PAGES];
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, SIZE);
	unsigned int i;

	need_batches();
	read_flags(mem, before);
	pf_map(vcpu, TEST_GPA, SIZE);
	/* Zapping SPTEs may pass their bits on to the pages. */
	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, 0, 0, NULL);
	read_flags(mem, after);
	for (i = 0; i < NR_PAGES; i++)
		TEST_ASSERT(!((before[i] ^ after[i]) & mask),
			    "page %u: flags %#lx, before %#lx", i, after[i], before[i]);
}

static void reclaim_flags_anon(void)
{
	check_flags(pf_mem(PF_ANON, SIZE, 1), KPF_REFERENCED | KPF_ACTIVE | KPF_DIRTY);
}

static void reclaim_flags_memfd(void)
{
	check_flags(clean_memfd(), KPF_REFERENCED | KPF_ACTIVE |
				   (PF_MARKS_DIRTY ? 0 : KPF_DIRTY));
}

const struct pf_test pf_reclaim_tests[] = {
	PF_TEST_BATCH(reclaim_keeps_writes),
	PF_TEST_BATCH(reclaim_lazyfree),
	PF_TEST_BATCH(reclaim_lazyfree_thp),
	PF_TEST_BATCH(reclaim_flags_anon),
	PF_TEST_BATCH(reclaim_flags_memfd),
	{ }
};
