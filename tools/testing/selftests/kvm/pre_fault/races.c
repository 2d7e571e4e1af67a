// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY against changes of the host memory: one vCPU pre-faults
 * all the time, the memory is changed, and another vCPU's guest must read what
 * is there now, not what was there when a pre-fault began.
 */
#define _GNU_SOURCE
#include <linux/mempolicy.h>
#include <linux/mman.h>
#include <sys/syscall.h>

#include "pre_fault.h"

#define NR_PAGES	64
#define MAX_PAGES	512
#define NR_HUGE		4
/* No race takes longer, but for the rounds that there have to be. */
#define RACE_SECONDS	10
#define MIN_ROUNDS	3
/* On one slow CPU, all rounds may be over before the other thread has run. */
#define MIN_CALLS	3

struct race {
	struct kvm_vcpu *guest;
	struct kvm_vcpu *vcpu;
	void *mem;
	uint64_t npages;
	/* The errno values that a call may return */
	int err;
	bool stop;
	unsigned long calls;
};

static void *race_fn(void *arg)
{
	struct race *r = arg;

	while (!READ_ONCE(r->stop)) {
		struct kvm_pre_fault_memory range = {
			.gpa = TEST_GPA,
			.size = r->npages * PAGE_SIZE,
		};
		int ret = pf_call(r->vcpu, &range);

		TEST_ASSERT(!ret || ret == r->err, "errno %d (%s)", ret,
			    strerror(ret));
		TEST_ASSERT(ret || !range.size || r->err, "%#llx left over",
			    range.size);
		r->calls++;
	}

	return NULL;
}

static size_t race_size(struct race *r)
{
	return r->npages * PAGE_SIZE;
}

static void race_init(struct race *r, enum pf_backing backing, uint64_t npages)
{
	struct kvm_vcpu *vcpus[2];
	struct kvm_vm *vm = pf_guest_vm(2, vcpus);

	r->guest = vcpus[0];
	r->vcpu = vcpus[1];
	r->npages = npages;
	r->mem = pf_mem(backing, race_size(r), 0);
	vm_set_user_memory_region(vm, TEST_SLOT, 0, TEST_GPA, race_size(r),
				  r->mem);
}

/* Call @disturb(), refill the memory and have the guest look at it, repeatedly. */
static void race_run(struct race *r, unsigned int rounds,
		     void (*disturb)(struct race *r, unsigned int round))
{
	pthread_t thread = pf_thread(race_fn, r);
	double end = pf_now() + RACE_SECONDS * pf_slowness;
	unsigned int i;

	rounds = rounds * pf_rounds / 1000 + 1;
	for (i = 0; i < rounds || READ_ONCE(r->calls) < MIN_CALLS; i++) {
		if (i >= MIN_ROUNDS && pf_now() >= end)
			break;
		disturb(r, i);
		pf_guest_check(r->guest, TEST_GPA, r->npages, i);
	}

	WRITE_ONCE(r->stop, true);
	pf_join(thread);
	pr_info("%u rounds, %lu calls\n", i, r->calls);
	TEST_ASSERT(r->calls, "not a single call");

	r->err = 0;
	pf_fill(r->mem, TEST_GPA, race_size(r), i);
	pf_map(r->vcpu, TEST_GPA, race_size(r));
	pf_guest_check(r->guest, TEST_GPA, r->npages, i);
}

static void dontneed(struct race *r, unsigned int round)
{
	TEST_ASSERT(!madvise(r->mem, race_size(r), MADV_DONTNEED), "madvise()");
	pf_fill(r->mem, TEST_GPA, race_size(r), round);
}

static void race_madvise_dontneed(void)
{
	struct race r = {};

	race_init(&r, PF_ANON, NR_PAGES);
	race_run(&r, 300, dontneed);
}

/*
 * Huge pages that come and go. While the first ones go, the last are still there
 * to be mapped, and others are to be in their place the next time.
 */
static void race_thp_dontneed(void)
{
	struct race r = {};

	race_init(&r, PF_THP, NR_HUGE * MAX_PAGES);
	race_run(&r, 300, dontneed);
}

/* Page cache pages that are replaced by private copies, and back again */
static void cow(struct race *r, unsigned int round)
{
	size_t half = race_size(r) / 2;

	if (round % 2) {
		TEST_ASSERT(!madvise(r->mem, race_size(r), MADV_DONTNEED),
			    "madvise()");
		pf_guest_check(r->guest, TEST_GPA, r->npages, 0);
	}
	pf_fill(r->mem + half, TEST_GPA + half, half, round);
	pf_fill(r->mem, TEST_GPA, half, round);
}

static void race_copy_on_write(void)
{
	struct race r = {};

	race_init(&r, PF_FILE, NR_PAGES);
	race_run(&r, 300, cow);
}

static void protect(struct race *r, unsigned int round)
{
	size_t size = race_size(r);

	TEST_ASSERT(!mprotect(r->mem, size, PROT_NONE), "mprotect()");
	TEST_ASSERT(!mprotect(r->mem, size, PROT_READ | PROT_WRITE),
		    "mprotect()");
	pf_fill(r->mem, TEST_GPA, size, round);
}

static void race_mprotect(void)
{
	struct race r = { .err = EFAULT };

	race_init(&r, PF_ANON, NR_PAGES);
	race_run(&r, 300, protect);
}

static void remap(struct race *r, unsigned int round)
{
	size_t size = race_size(r);
	void *mem;

	mem = mmap(r->mem, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	TEST_ASSERT(mem == r->mem, "mmap()");
	pf_fill(r->mem, TEST_GPA, size, round);
}

static void race_munmap(void)
{
	struct race r = { .err = EFAULT };

	race_init(&r, PF_ANON, NR_PAGES);
	race_run(&r, 300, remap);
}

/* A new huge page each time, mapped as such, and split in one of two ways. */
static void split(struct race *r, unsigned int round)
{
	void *page = r->mem + round % MAX_PAGES * PAGE_SIZE;
	size_t size = race_size(r);

	TEST_ASSERT(!madvise(r->mem, size, MADV_DONTNEED), "madvise()");
	pf_fill(r->mem, TEST_GPA, size, round);
	pf_guest_check(r->guest, TEST_GPA, r->npages, round);

	if (round % 2) {
		TEST_ASSERT(!mprotect(page, PAGE_SIZE, PROT_READ), "mprotect()");
		TEST_ASSERT(!mprotect(page, PAGE_SIZE, PROT_READ | PROT_WRITE),
			    "mprotect()");
	} else {
		TEST_ASSERT(!madvise(page, PAGE_SIZE, MADV_DONTNEED),
			    "madvise()");
		pf_fill(r->mem, TEST_GPA, size, round);
	}
}

static void race_thp_split(void)
{
	struct race r = {};

	race_init(&r, PF_THP, MAX_PAGES);
	race_run(&r, 100, split);
}

/* How often the memory was changed as the test has it in mind. */
static unsigned int nr_changes;

static void move_to_node(struct race *r, int node)
{
	int nodes[NR_PAGES], status[NR_PAGES];
	void *pages[NR_PAGES];
	unsigned int i;

	for (i = 0; i < NR_PAGES; i++) {
		pages[i] = r->mem + i * PAGE_SIZE;
		nodes[i] = node;
		status[i] = -1;
	}
	/* A page that is in use just then stays where it is. */
	if (syscall(SYS_move_pages, 0, (long)NR_PAGES, pages, nodes, status,
		    MPOL_MF_MOVE) < 0) {
		TEST_ASSERT(errno == ENOSYS, "move_pages(): errno %d", errno);
		pf_skip("pages can't be moved: %s", strerror(errno));
	}
	nr_changes += status[0] == node;
}

/* Soft offlining moves a page's contents elsewhere, with one node as well. */
static void soft_offline(struct race *r, unsigned int round)
{
	void *page = r->mem + round % NR_PAGES * PAGE_SIZE;
	uint64_t old = pf_pagemap(page);

	if (madvise(page, PAGE_SIZE, MADV_SOFT_OFFLINE)) {
		if (errno == EPERM || errno == EINVAL)
			pf_skip("pages can't be moved: %s", strerror(errno));
		TEST_ASSERT(errno == EBUSY || errno == EIO, "errno %d", errno);
	}
	nr_changes += (pf_pagemap(page) & PAGEMAP_PFN) != (old & PAGEMAP_PFN);
}

static void move_pages_away(struct race *r, unsigned int round)
{
	pf_fill(r->mem, TEST_GPA, race_size(r), round);
	if (access("/sys/devices/system/node/node1", F_OK))
		soft_offline(r, round);
	else
		move_to_node(r, round % 2);
}

static void race_migration(void)
{
	struct race r = {};

	race_init(&r, PF_ANON, NR_PAGES);
	race_run(&r, 100, move_pages_away);
	TEST_ASSERT(nr_changes, "no page was ever moved");
}

static void page_out(struct race *r, unsigned int round)
{
	pf_fill(r->mem, TEST_GPA, race_size(r), round);
	TEST_ASSERT(!madvise(r->mem, race_size(r), MADV_PAGEOUT), "madvise()");
}

static void race_swap(void)
{
	struct race r = {};

	pf_need_swap();
	race_init(&r, PF_ANON, NR_PAGES);
	page_out(&r, 0);
	TEST_ASSERT(pf_smaps(r.mem, race_size(&r), "Swap"), "nothing swapped out");
	race_run(&r, 100, page_out);
}

/* Each page has a twin outside of the guest to be merged with. */
static void *twins;

static void merge(struct race *r, unsigned int round)
{
	pf_fill(r->mem, TEST_GPA, race_size(r), round);
	pf_fill(twins, TEST_GPA, race_size(r), round);

	pf_ksm_scan();
	pf_guest_check(r->guest, TEST_GPA, r->npages, round);
	nr_changes += !!pf_ksm_merged();

	/* Now the guest has them unshared. */
	pf_guest(r->guest, PF_WRITE, TEST_GPA, r->npages, round);
}

static void race_ksm(void)
{
	struct race r = {};

	pf_ksm_start();
	race_init(&r, PF_ANON, NR_PAGES);
	twins = pf_mem(PF_ANON, race_size(&r), 0);
	madvise(r.mem, race_size(&r), MADV_MERGEABLE);
	madvise(twins, race_size(&r), MADV_MERGEABLE);
	race_run(&r, 30, merge);
	pf_ksm_stop();
	TEST_ASSERT(nr_changes, "no page was ever merged");
}

const struct pf_test pf_race_tests[] = {
	PF_TEST(race_madvise_dontneed),
	PF_TEST(race_thp_dontneed),
	PF_TEST(race_copy_on_write),
	PF_TEST(race_mprotect),
	PF_TEST(race_munmap),
	PF_TEST(race_thp_split),
	PF_TEST(race_migration),
	PF_TEST(race_swap),
	PF_TEST(race_ksm),
	{ }
};
