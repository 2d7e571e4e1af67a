// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY against changes of all of the host memory at once.
 */
#define _GNU_SOURCE
#include <linux/mman.h>

#include "race.h"

#define NR_PAGES	64
#define HUGE_PAGES	512
#define NR_HUGE		4

static void dontneed(struct race *r, unsigned int round)
{
	race_advise(r, 0, r->npages, MADV_DONTNEED);
	race_stamp_all(r, race_seed(round));
}

static void race_madvise_dontneed(void)
{
	struct race r = { .disturb = dontneed };

	race_init(&r, pf_mem(PF_ANON, NR_PAGES * PAGE_SIZE, 0), NR_PAGES);
	race_run(&r, 300);
}

/*
 * Drop and allocate huge pages. While the first ones are dropped, the last can still be
 * mapped; the next round has others in their place.
 */
static void race_thp_dontneed(void)
{
	struct race r = { .disturb = dontneed };

	race_init(&r, pf_mem(PF_THP, NR_HUGE * SZ_2M, 0), NR_HUGE * HUGE_PAGES);
	race_run(&r, 300);
}

/* The contents of the file */
#define FILE_SEED	250

/* Page cache pages that are replaced by private copies, and back again */
static void cow(struct race *r, unsigned int round)
{
	unsigned int half = r->npages / 2;

	if (round % 2) {
		race_advise(r, 0, r->npages, MADV_DONTNEED);
		pf_guest_check(r->guest, TEST_GPA, r->npages, FILE_SEED);
	}
	race_stamp(r, half, half, race_seed(round));
	race_stamp(r, 0, half, race_seed(round));
}

static void race_copy_on_write(void)
{
	struct race r = { .disturb = cow };

	race_init(&r, pf_mem(PF_FILE_NEW, NR_PAGES * PAGE_SIZE, FILE_SEED), NR_PAGES);
	race_run(&r, 300);
}

static void protect(struct race *r, unsigned int round)
{
	race_protect(r, 0, r->npages, PROT_NONE);
	race_protect(r, 0, r->npages, PROT_READ | PROT_WRITE);
	race_stamp_all(r, race_seed(round));
}

static void race_mprotect(void)
{
	struct race r = { .disturb = protect, .loop.errs = { EFAULT } };

	race_init(&r, pf_mem(PF_ANON, NR_PAGES * PAGE_SIZE, 0), NR_PAGES);
	race_run(&r, 300);
}

static void remap(struct race *r, unsigned int round)
{
	void *mem;

	mem = mmap(r->mem, race_size(r), PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	TEST_ASSERT(mem == r->mem, "mmap()");
	race_stamp_all(r, race_seed(round));
}

static void race_munmap(void)
{
	struct race r = { .disturb = remap, .loop.errs = { EFAULT } };

	race_init(&r, pf_mem(PF_ANON, NR_PAGES * PAGE_SIZE, 0), NR_PAGES);
	race_run(&r, 300);
}

/* A new huge page each time, mapped as such, and split in one of two ways. */
static void split(struct race *r, unsigned int round)
{
	unsigned int page = round % HUGE_PAGES;

	dontneed(r, round);
	race_check_all(r);

	if (round % 2) {
		race_protect(r, page, 1, PROT_READ);
		race_protect(r, page, 1, PROT_READ | PROT_WRITE);
	} else {
		race_advise(r, page, 1, MADV_DONTNEED);
		race_stamp_all(r, race_seed(round));
	}
}

static void race_thp_split(void)
{
	struct race r = { .disturb = split };

	race_init(&r, pf_mem(PF_THP, SZ_2M, 0), HUGE_PAGES);
	race_run(&r, 100);
}

static void move_to_node(struct race *r, int node)
{
	int moved = pf_move_pages(r->mem, r->npages, node);

	if (moved < 0) {
		TEST_ASSERT(errno == ENOSYS, "move_pages(): errno %d", errno);
		pf_skip("pages can't be moved: %s", strerror(errno));
	}
	r->changes += !!moved;
}

/* Soft offlining migrates a page, even with a single node. */
static void soft_offline(struct race *r, unsigned int page)
{
	uint64_t old = pf_pagemap(race_page(r, page));

	if (madvise(race_page(r, page), PAGE_SIZE, MADV_SOFT_OFFLINE)) {
		if (errno == EPERM || errno == EINVAL)
			pf_skip("pages can't be moved: %s", strerror(errno));
		TEST_ASSERT(errno == EBUSY || errno == EIO, "errno %d", errno);
	}
	r->changes += (pf_pagemap(race_page(r, page)) & PAGEMAP_PFN) !=
		      (old & PAGEMAP_PFN);
}

static void move_away(struct race *r, unsigned int round)
{
	race_stamp_all(r, race_seed(round));
	if (access("/sys/devices/system/node/node1", F_OK))
		soft_offline(r, round % r->npages);
	else
		move_to_node(r, round % 2);
}

static void race_migration(void)
{
	struct race r = { .disturb = move_away };

	race_init(&r, pf_mem(PF_ANON, NR_PAGES * PAGE_SIZE, 0), NR_PAGES);
	race_run(&r, 100);
	TEST_ASSERT(r.changes, "no page was ever moved");
}

static void page_out(struct race *r, unsigned int round)
{
	race_stamp_all(r, race_seed(round));
	race_advise(r, 0, r->npages, MADV_PAGEOUT);
}

static void race_swap(void)
{
	struct race r = { .disturb = page_out };

	pf_need_swap();
	race_init(&r, pf_mem(PF_ANON, NR_PAGES * PAGE_SIZE, 0), NR_PAGES);
	page_out(&r, 0);
	TEST_ASSERT(pf_smaps(r.mem, race_size(&r), "Swap"), "nothing swapped out");
	race_run(&r, 100);
}

/* Pages outside of the guest for KSM to merge with */
static void *twins;

static void merge(struct race *r, unsigned int round)
{
	race_stamp_all(r, race_seed(round));
	pf_fill(twins, TEST_GPA, race_size(r), race_seed(round));

	pf_ksm_scan();
	race_check_all(r);
	r->changes += !!pf_ksm_merged();

	/* The guest ends the sharing. */
	pf_guest(r->guest, PF_WRITE, TEST_GPA, r->npages, race_seed(round));
}

static void race_ksm(void)
{
	struct race r = { .disturb = merge };

	pf_ksm_start();
	race_init(&r, pf_mem(PF_ANON, NR_PAGES * PAGE_SIZE, 0), NR_PAGES);
	twins = pf_mem(PF_ANON, race_size(&r), 0);
	madvise(r.mem, race_size(&r), MADV_MERGEABLE);
	madvise(twins, race_size(&r), MADV_MERGEABLE);
	race_run(&r, 30);
	pf_ksm_stop();
	TEST_ASSERT(r.changes, "no page was ever merged");
}

const struct pf_test pf_race_host_memory_tests[] = {
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
