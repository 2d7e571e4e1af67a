// SPDX-License-Identifier: GPL-2.0-only
/*
 * The common part of the races with changes of the host memory.
 */
#define _GNU_SOURCE
#include "race.h"

/* End a race after this time, but not before MIN_ROUNDS. */
#define RACE_SECONDS	8
#define MIN_ROUNDS	3
/* On one slow CPU, all rounds may end before the other thread runs: wait. */
#define MIN_CALLS	3
/* The number of pages that a round changes before it checks all */
#define NR_CHANGES	16

void race_stamp(struct race *r, unsigned int page, unsigned int nr, uint8_t seed)
{
	memset(r->seed + page, seed, nr);
	pf_fill(race_page(r, page), race_gpa(page), nr * PAGE_SIZE, seed);
}

void race_stamp_all(struct race *r, uint8_t seed)
{
	race_stamp(r, 0, r->npages, seed);
}

void race_check_all(struct race *r)
{
	pf_plan(r->guest, r->seed, r->npages);
	TEST_ASSERT(!pf_guest(r->guest, PF_READ_PLAN, TEST_GPA, r->npages, 0),
		    "the guest read old data");
}

void race_check_page(struct race *r, unsigned int page, uint8_t seed)
{
	TEST_ASSERT(!pf_guest(r->guest, PF_READ, race_gpa(page), 1, r->seed[page]),
		    "page %u: the guest read old data", page);
	pf_guest(r->guest, PF_WRITE, race_gpa(page), 1, seed);
	TEST_ASSERT(pf_page_is(race_page(r, page), race_gpa(page), seed),
		    "page %u: the guest's write is lost", page);
	TEST_ASSERT(!r->shared || pf_page_is(r->shared + page * PAGE_SIZE,
					     race_gpa(page), seed),
		    "page %u: the guest's write is not in the file", page);
	r->seed[page] = seed;
}

void race_let_in(struct race *r)
{
	pf_loop_let_in(&r->loop, &r->loop.calls, 0.01);
}

void race_advise(struct race *r, unsigned int page, unsigned int nr, int advice)
{
	TEST_ASSERT(!madvise(race_page(r, page), nr * PAGE_SIZE, advice),
		    "madvise(%d): errno %d", advice, errno);
}

void race_protect(struct race *r, unsigned int page, unsigned int nr, int prot)
{
	TEST_ASSERT(!mprotect(race_page(r, page), nr * PAGE_SIZE, prot),
		    "mprotect(): errno %d", errno);
}

void race_init(struct race *r, void *mem, unsigned int npages)
{
	struct kvm_vcpu *vcpus[2];
	struct kvm_vm *vm = pf_guest_vm(2, vcpus);

	TEST_ASSERT(npages <= RACE_MAX_PAGES, "%u pages", npages);
	r->guest = vcpus[0];
	r->mem = mem;
	r->npages = npages;
	r->loop.vcpu = vcpus[1];
	r->loop.gpa = TEST_GPA;
	r->loop.size = race_size(r);
	vm_set_user_memory_region(vm, TEST_SLOT, 0, TEST_GPA, race_size(r), mem);
}

static void change_pages(struct race *r, unsigned int round)
{
	uint8_t seed = 1 + round % 100;
	unsigned int i, page;

	for (i = 0; i < NR_CHANGES; i++) {
		page = random() % r->npages;
		r->change(r, page);
		/* Let a pre-fault map the page in its current state. */
		if (i % 2)
			race_let_in(r);
		race_stamp(r, page, 1, seed);
		race_check_page(r, page, seed + 101);
	}
}

void race_run(struct race *r, unsigned int rounds)
{
	double end = pf_now() + RACE_SECONDS * pf_slowness;
	unsigned int i;

	srandom(pf_seed);
	pr_info("-S %u repeats the same pages\n", pf_seed);
	race_stamp_all(r, 1);
	pf_loop_start(&r->loop);

	rounds = rounds * pf_rounds / 1000 + 1;
	for (i = 0; i < rounds || READ_ONCE(r->loop.calls) < MIN_CALLS; i++) {
		if (i >= MIN_ROUNDS && pf_now() >= end)
			break;
		if (r->disturb)
			r->disturb(r, i);
		if (r->change)
			change_pages(r, i);
		race_check_all(r);
	}

	pf_loop_stop(&r->loop);
	pf_loop_report(&r->loop, i);

	/* Without further changes, a pre-fault must map all pages. */
	pf_map(r->loop.vcpu, TEST_GPA, race_size(r));
	race_check_all(r);
}
