// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY is a read: pages of a file, pages shared with a forked process
 * and zero pages stay shared until the guest writes to them.
 */
#define _GNU_SOURCE

#include "../pre_fault.h"

#define SIZE		(2 * SZ_2M)
#define NR_PAGES	(SIZE / PAGE_SIZE)

static void cow_intact_file(void)
{
	void *mem = pf_mem(PF_FILE_NEW, SIZE, 4);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, SIZE);
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

	/* The guest's writes copy the pages, and no write is lost. */
	pf_guest(vcpu, PF_WRITE, TEST_GPA, NR_PAGES / 2, 5);
	TEST_ASSERT(pf_smaps(mem, SIZE, "Anonymous") * 1024 == SIZE / 2,
		    "%lu kB anonymous after writes to %llu kB",
		    pf_smaps(mem, SIZE, "Anonymous"), SIZE / 2 / 1024);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES / 2, 5);
	pf_guest_check(vcpu, TEST_GPA + SIZE / 2, NR_PAGES / 2, 4);
	TEST_ASSERT(!madvise(mem, SIZE, MADV_DONTNEED), "madvise()");
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 4);
}

/* Pages shared with a forked process stay shared, with the right contents. */
static void cow_intact_fork(void)
{
	void *mem = pf_mem(PF_ANON, SIZE, 6);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, SIZE);
	uint64_t private, wrong = 0;
	int fds[2], status;
	size_t offset;
	pid_t pid;
	char c;

	TEST_ASSERT(!pipe(fds), "pipe()");
	pid = pf_fork();
	if (!pid) {
		close(fds[1]);
		/* Wait until the parent has written. */
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
	status = pf_wait(pid);
	TEST_ASSERT(!status,
		    "the guest wrote to the other process: status %#x", status);
}

/* A pre-fault does not allocate anonymous memory that was never touched. */
static void zero_page_intact(void)
{
	void *mem = pf_mem(PF_ANON_NEW, SIZE, 0);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, SIZE);
	size_t offset;

	pf_map(vcpu, TEST_GPA, SIZE);
	TEST_ASSERT(!pf_smaps(mem, SIZE, "Anonymous"),
		    "%lu kB allocated by a pre-fault",
		    pf_smaps(mem, SIZE, "Anonymous"));
	for (offset = 0; offset < SIZE; offset += PAGE_SIZE)
		TEST_ASSERT(!*(uint64_t *)(mem + offset), "not zero");

	/* A write of the guest allocates its own page only. */
	pf_guest(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 8);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 8);
	TEST_ASSERT(pf_smaps(mem, SIZE, "Anonymous") * 1024 == SIZE,
		    "%lu kB allocated for the guest's writes",
		    pf_smaps(mem, SIZE, "Anonymous"));
}

const struct pf_test pf_copy_on_write_tests[] = {
	PF_TEST(cow_intact_file),
	PF_TEST(cow_intact_fork),
	PF_TEST(zero_page_intact),
	{ }
};
