// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY of a whole page table against changes of single pages in it:
 * right after a change, the guest must read the new contents, and the host must see
 * the guest's writes.
 */
#define _GNU_SOURCE
#include <linux/mman.h>

#include "race.h"

#define NR_PAGES	512
#define SIZE		(NR_PAGES * PAGE_SIZE)
#define NR_ROUNDS	100

/*
 * Drop and populate many pages. While the first ones are dropped, a pre-fault can still
 * look up the last.
 */
static void renew_ranges(struct race *r, unsigned int round, int advice)
{
	unsigned int pass, first, nr;

	for (pass = 0; pass < 8; pass++) {
		first = pass % 4 ? random() % NR_PAGES : 0;
		nr = 1 + random() % (NR_PAGES - first);
		race_advise(r, first, nr, advice);
		race_stamp(r, first, nr, race_seed(8 * round + pass));
		race_check_all(r);
	}
}

static void dontneed_ranges(struct race *r, unsigned int round)
{
	renew_ranges(r, round, MADV_DONTNEED);
}

static void dontneed(struct race *r, unsigned int page)
{
	race_advise(r, page, 1, MADV_DONTNEED);
}

static void race_dontneed_pages(void)
{
	struct race r = { .change = dontneed, .disturb = dontneed_ranges };

	race_init(&r, pf_mem(PF_ANON, SIZE, 1), NR_PAGES);
	race_run(&r, NR_ROUNDS);
}

/* Drop and create private copies of the pages of a file. */
static void race_private_file(void)
{
	struct race r = { .change = dontneed, .disturb = dontneed_ranges };

	race_init(&r, pf_mem(PF_FILE_NEW, SIZE, 1), NR_PAGES);
	race_run(&r, NR_ROUNDS);
}

static void punch_hole(struct race *r, unsigned int page)
{
	race_advise(r, page, 1, MADV_REMOVE);
}

static void punch_ranges(struct race *r, unsigned int round)
{
	renew_ranges(r, round, MADV_REMOVE);
}

static void race_punch_hole(void)
{
	struct race r = { .change = punch_hole, .disturb = punch_ranges };
	int fd = pf_memfd(SIZE);

	r.shared = pf_map_memory(PF_MEMFD, NULL, SIZE, fd, 0);
	race_init(&r, pf_map_memory(PF_MEMFD, NULL, SIZE, fd, 0), NR_PAGES);
	race_run(&r, NR_ROUNDS);
}

/* While a page is read-only for the VMM, the guest must not write it. */
static void protect(struct race *r, unsigned int page)
{
	const uint8_t seed = 250;

	race_protect(r, page, 1, PROT_READ);
	race_let_in(r);
	pf_guest_order(r->guest, PF_WRITE, race_gpa(page), 1, seed);
	TEST_ASSERT(__vcpu_run(r->guest) == -1 && errno == EFAULT,
		    "page %u could be written", page);
	TEST_ASSERT(pf_page_is(race_page(r, page), race_gpa(page), r->seed[page]),
		    "page %u was written", page);
	race_protect(r, page, 1, PROT_READ | PROT_WRITE);
	vcpu_run(r->guest);
	pf_guest_finish(r->guest);
	TEST_ASSERT(pf_page_is(race_page(r, page), race_gpa(page), seed),
		    "page %u: write lost", page);
}

static void race_mprotect_pages(void)
{
	struct race r = { .change = protect };

	race_init(&r, pf_mem(PF_ANON, SIZE, 1), NR_PAGES);
	race_run(&r, NR_ROUNDS);
}

/* A spare mapping, to create pages that are then moved into the memslot */
static void *spare;

/* Replace a page with another one, by mremap(). */
static void move(struct race *r, unsigned int page)
{
	void *from = spare + page * PAGE_SIZE, *to = race_page(r, page);

	r->seed[page] = 1 + (r->seed[page] + 1) % 200;
	TEST_ASSERT(mmap(from, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			 MAP_ANONYMOUS | MAP_FIXED, -1, 0) == from, "mmap()");
	pf_fill(from, race_gpa(page), PAGE_SIZE, r->seed[page]);
	TEST_ASSERT(mremap(from, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE |
			   MREMAP_FIXED, to) == to, "mremap()");
	race_check_page(r, page, 200);
}

static void race_mremap(void)
{
	struct race r = { .change = move, .loop.errs = { EFAULT } };

	spare = pf_mem(PF_ANON_NEW, SIZE, 0);
	race_init(&r, pf_mem(PF_ANON, SIZE, 1), NR_PAGES);
	race_run(&r, NR_ROUNDS);
}

static __noreturn void check_child_pages(struct race *r)
{
	unsigned int i;

	for (i = 0; i < NR_PAGES; i++)
		if (!pf_page_is(race_page(r, i), race_gpa(i), r->seed[i]))
			_exit(2);
	_exit(0);
}

/*
 * Fork while a pre-fault maps the pages writable. The child's pages must keep their
 * contents.
 */
static void fork_and_write(struct race *r, unsigned int round)
{
	uint8_t seed = race_seed(round);
	int fds[2], status;
	unsigned int i;
	pid_t pid;
	char c;

	TEST_ASSERT(!pipe(fds), "pipe()");
	race_advise(r, 0, NR_PAGES, MADV_DONTNEED);
	race_stamp_all(r, seed);
	pid = pf_fork();
	if (!pid) {
		close(fds[1]);
		if (read(fds[0], &c, 1) != 0)
			_exit(1);
		check_child_pages(r);
	}
	close(fds[0]);

	if (round % 2)
		race_let_in(r);
	pf_guest(r->guest, PF_WRITE, TEST_GPA, NR_PAGES, seed + 1);
	memset(r->seed, seed + 1, NR_PAGES);
	for (i = 0; i < NR_PAGES; i++)
		TEST_ASSERT(pf_page_is(race_page(r, i), race_gpa(i), seed + 1),
			    "page %u: the guest's write is lost", i);

	close(fds[1]);
	status = pf_wait(pid);
	TEST_ASSERT(!status,
		    "the guest wrote to the other process: status %#x", status);
}

static void race_fork(void)
{
	struct race r = { .disturb = fork_and_write };

	race_init(&r, pf_mem(PF_ANON, SIZE, 1), NR_PAGES);
	race_run(&r, NR_ROUNDS);
}

/* Collapse small pages, with a hole among them, to a huge page, and split that. */
static void collapse(struct race *r, unsigned int round)
{
	unsigned int page = random() % NR_PAGES, other, tries;

	race_advise(r, page, 1, MADV_DONTNEED);
	if (round % 2)
		race_stamp(r, page, 1, race_seed(round));
	else
		r->seed[page] = PF_ZEROS;

	/* MADV_COLLAPSE fails if a page is in use at that moment: retry. */
	for (tries = 0; tries < 20; tries++) {
		if (!madvise(r->mem, SIZE, MADV_COLLAPSE)) {
			r->changes++;
			break;
		}
		if (errno == EINVAL)
			pf_skip("no MADV_COLLAPSE");
	}
	race_check_all(r);
	other = random() % NR_PAGES;
	race_stamp(r, other, 1, race_seed(round + 50));
	race_check_page(r, other, race_seed(round + 51));

	if (round % 3) {
		race_protect(r, page, 1, PROT_READ);
		race_let_in(r);
		race_protect(r, page, 1, PROT_READ | PROT_WRITE);
	}
	race_check_all(r);
}

static void race_collapse(void)
{
	struct race r = { .change = dontneed, .disturb = collapse };

	race_init(&r, pf_mem(PF_ANON, SIZE, 1), NR_PAGES);
	madvise(r.mem, SIZE, MADV_HUGEPAGE);
	race_run(&r, NR_ROUNDS);
	pr_info("%u times collapsed\n", r.changes);
	TEST_ASSERT(r.changes, "never collapsed");
}

static void page_out(struct race *r, unsigned int page)
{
	unsigned int nr = min(NR_PAGES - page, 8u);

	/* Swap out some pages, and then drop one. */
	race_advise(r, page, nr, MADV_PAGEOUT);
	race_let_in(r);
	TEST_ASSERT(!pf_guest(r->guest, PF_READ, race_gpa(page), 1, r->seed[page]),
		    "page %u came back with other contents", page);
	race_advise(r, page, 1, MADV_DONTNEED);
}

static void race_swap_pages(void)
{
	struct race r = { .change = page_out };

	pf_need_swap();
	race_init(&r, pf_mem(PF_ANON, SIZE, 1), NR_PAGES);
	race_run(&r, NR_ROUNDS);
}

const struct pf_test pf_race_host_page_tests[] = {
	PF_TEST_BATCH(race_dontneed_pages),
	PF_TEST_BATCH(race_private_file),
	PF_TEST_BATCH(race_punch_hole),
	PF_TEST_BATCH(race_mprotect_pages),
	PF_TEST_BATCH(race_mremap),
	PF_TEST_BATCH(race_fork),
	PF_TEST_BATCH(race_collapse),
	PF_TEST_BATCH(race_swap_pages),
	{ }
};
