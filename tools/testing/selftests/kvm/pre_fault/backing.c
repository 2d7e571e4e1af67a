// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY over each kind of host memory: what the guest finds, and
 * what has become of the memory.
 */
#define _GNU_SOURCE
#include <sys/wait.h>

#include "pre_fault.h"

#define SIZE		(2 * SZ_2M)
#define NR_PAGES	(SIZE / PAGE_SIZE)

static struct kvm_vcpu *vcpu_with_memory(void *mem, size_t size)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, size, mem);
	return vcpu;
}

/*
 * The guest faults in one half, the ioctl the other: both halves have to end up
 * mapped alike, and the guest must not fault on the second.
 */
static void check_backing(enum pf_backing backing, size_t half)
{
	void *mem = pf_mem(backing, 2 * half, 1);
	struct kvm_vcpu *vcpu = vcpu_with_memory(mem, 2 * half);
	struct pf_stats guest, pre, before;
	uint64_t pages = half / PAGE_SIZE, leaves;

	guest = pf_guest_stats(vcpu, PF_READ, TEST_GPA, pages, 1);
	leaves = guest.pages_4k + guest.pages_2m + guest.pages_1g;
	TEST_ASSERT(guest.taken && (leaves || !pf_counts_mappings),
		    "%lu faults for %lu leaves", guest.taken, leaves);
	if ((backing == pf_huge || backing == PF_HUGETLB_2M) &&
	    !pf_mapped_huge(&guest, pages))
		pf_skip("KVM does not map huge pages here");

	before = pf_stats(vcpu);
	pf_map(vcpu, TEST_GPA + half, half);
	pre = pf_stats_since(vcpu, &before);
	TEST_ASSERT(pre.pages_4k == guest.pages_4k &&
		    pre.pages_2m == guest.pages_2m &&
		    pre.pages_1g == guest.pages_1g,
		    "pre-fault mapped %lu/%lu/%lu pages of 4K/2M/1G, the guest %lu/%lu/%lu",
		    pre.pages_4k, pre.pages_2m, pre.pages_1g,
		    guest.pages_4k, guest.pages_2m, guest.pages_1g);
	TEST_ASSERT(pf_prefaulted(&pre, pages), "pf_prefaulted: %lu of %lu pages",
		    pre.prefaulted, pages);

	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA + half, pages, 1, leaves);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, 2 * pages, 1, 0);
}

static void guest_takes_no_fault_anon_4k(void)
{
	check_backing(PF_ANON, SIZE);
}

static void guest_takes_no_fault_anon_thp(void)
{
	check_backing(PF_THP, SIZE);
}

static void guest_takes_no_fault_hugetlb_2m(void)
{
	check_backing(PF_HUGETLB_2M, SIZE);
}

/* There is one such page at most: the guest maps it first, then the ioctl. */
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

static void guest_takes_no_fault_memfd(void)
{
	check_backing(PF_MEMFD, SIZE);
}

static void guest_takes_no_fault_private_file(void)
{
	check_backing(PF_FILE, SIZE);
}

/* Pages that the host wrote to are writable in stage-2, too. */
static void guest_write_takes_no_fault(void)
{
	struct kvm_vcpu *vcpu = vcpu_with_memory(pf_mem(PF_ANON, SIZE, 1), SIZE);

	pf_map(vcpu, TEST_GPA, SIZE);
	pf_guest_no_fault(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 2, NR_PAGES);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 2);
}

/* Memory that is not there yet is faulted in, from the file. */
static void faults_in_host_memory(void)
{
	void *mem = pf_mem(PF_FILE, SIZE, 3);
	struct kvm_vcpu *vcpu = vcpu_with_memory(mem, SIZE);

	TEST_ASSERT(!pf_smaps(mem, SIZE, "Rss"), "populated too early");
	pf_map(vcpu, TEST_GPA, SIZE);
	TEST_ASSERT(pf_smaps(mem, SIZE, "Rss") * 1024 >= SIZE,
		    "only %lu kB faulted in", pf_smaps(mem, SIZE, "Rss"));
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 3, NR_PAGES);
}

/* A private mapping of a file keeps showing the file until it is written. */
static void cow_intact_file(void)
{
	void *mem = pf_mem(PF_FILE, SIZE, 4);
	struct kvm_vcpu *vcpu = vcpu_with_memory(mem, SIZE);
	size_t offset;

	pf_map(vcpu, TEST_GPA, SIZE);
	TEST_ASSERT(!pf_smaps(mem, SIZE, "Anonymous"),
		    "%lu kB were copied by a pre-fault",
		    pf_smaps(mem, SIZE, "Anonymous"));
	for (offset = 0; offset < SIZE; offset += PAGE_SIZE)
		TEST_ASSERT((pf_pagemap(mem + offset) &
			     (PAGEMAP_PRESENT | PAGEMAP_FILE)) ==
			    (PAGEMAP_PRESENT | PAGEMAP_FILE),
			    "page %#lx is not the file's any more", offset);

	/* The guest's writes get copies of their own, and nothing is lost. */
	pf_guest(vcpu, PF_WRITE, TEST_GPA, NR_PAGES / 2, 5);
	TEST_ASSERT(pf_smaps(mem, SIZE, "Anonymous") * 1024 == SIZE / 2,
		    "%lu kB anonymous after writes to %llu kB",
		    pf_smaps(mem, SIZE, "Anonymous"), SIZE / 2 / 1024);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES / 2, 5);
	pf_guest_check(vcpu, TEST_GPA + SIZE / 2, NR_PAGES / 2, 4);
	TEST_ASSERT(!madvise(mem, SIZE, MADV_DONTNEED), "madvise()");
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 4);
}

/* Pages shared with a forked process stay shared, and the copies right. */
static void cow_intact_fork(void)
{
	void *mem = pf_mem(PF_ANON, SIZE, 6);
	struct kvm_vcpu *vcpu = vcpu_with_memory(mem, SIZE);
	uint64_t private, wrong = 0;
	int fds[2], status;
	size_t offset;
	pid_t pid;
	char c;

	TEST_ASSERT(!pipe(fds), "pipe()");
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork()");
	if (!pid) {
		close(fds[1]);
		/* Until the parent has done its worst */
		if (read(fds[0], &c, 1) != 0)
			exit(1);
		for (offset = 0; offset < SIZE; offset += PAGE_SIZE)
			wrong += *(uint64_t *)(mem + offset) !=
				 pf_pattern(TEST_GPA + offset, 6);
		exit(wrong ? 2 : 0);
	}
	close(fds[0]);

	pf_map(vcpu, TEST_GPA, SIZE);
	private = pf_smaps(mem, SIZE, "Private_Dirty") +
		  pf_smaps(mem, SIZE, "Private_Clean");
	TEST_ASSERT(!private, "%lu kB were copied by a pre-fault", private);

	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 6, NR_PAGES);
	pf_guest(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 7);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 7);

	close(fds[1]);
	TEST_ASSERT(waitpid(pid, &status, 0) == pid && !status,
		    "the guest wrote to the other process: status %#x", status);
}

/* Anonymous memory never touched is not allocated for the asking. */
static void zero_page_intact(void)
{
	struct kvm_vcpu *vcpu;
	size_t offset;
	void *mem;

	mem = pf_mmap(SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1);
	TEST_ASSERT(mem != MAP_FAILED, "mmap()");
	madvise(mem, SIZE, MADV_NOHUGEPAGE);
	vcpu = vcpu_with_memory(mem, SIZE);

	pf_map(vcpu, TEST_GPA, SIZE);
	TEST_ASSERT(!pf_smaps(mem, SIZE, "Anonymous"),
		    "%lu kB allocated by a pre-fault",
		    pf_smaps(mem, SIZE, "Anonymous"));
	for (offset = 0; offset < SIZE; offset += PAGE_SIZE)
		TEST_ASSERT(!*(uint64_t *)(mem + offset), "not zero");

	/* A write of the guest ends that, for its own page only. */
	pf_guest(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 8);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 8);
	TEST_ASSERT(pf_smaps(mem, SIZE, "Anonymous") * 1024 == SIZE,
		    "%lu kB allocated for the guest's writes",
		    pf_smaps(mem, SIZE, "Anonymous"));
}

const struct pf_test pf_backing_tests[] = {
	PF_TEST(guest_takes_no_fault_anon_4k),
	PF_TEST(guest_takes_no_fault_anon_thp),
	PF_TEST(guest_takes_no_fault_hugetlb_2m),
	PF_TEST(maps_1g_page),
	PF_TEST(guest_takes_no_fault_memfd),
	PF_TEST(guest_takes_no_fault_private_file),
	PF_TEST(guest_write_takes_no_fault),
	PF_TEST(faults_in_host_memory),
	PF_TEST(cow_intact_file),
	PF_TEST(cow_intact_fork),
	PF_TEST(zero_page_intact),
	{ }
};
