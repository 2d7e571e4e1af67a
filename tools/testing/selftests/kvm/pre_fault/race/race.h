/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One vCPU pre-faults a range in a loop while the memory of the range changes. The guest
 * on another vCPU must read the current contents, not those from the start of a
 * pre-fault. Each page carries the seed of its last change.
 */
#ifndef SELFTEST_KVM_PRE_FAULT_RACE_H
#define SELFTEST_KVM_PRE_FAULT_RACE_H

#include "../pre_fault.h"

#define RACE_MAX_PAGES	2048

struct race {
	struct kvm_vcpu *guest;
	struct pf_loop loop;
	void *mem;
	unsigned int npages;
	/* Another mapping of shared memory */
	void *shared;
	/* The number of changes of the intended kind, if it may fail to happen */
	unsigned int changes;
	uint8_t seed[RACE_MAX_PAGES];

	/* Change all of the memory and its contents, once in a round. */
	void (*disturb)(struct race *r, unsigned int round);
	/* Change a page and leave it blank, for some pages in a round. */
	void (*change)(struct race *r, unsigned int page);
};

/* Create a VM with a vCPU to pre-fault @mem, and one that runs the guest. */
void race_init(struct race *r, void *mem, unsigned int npages);
/* Run @rounds, scaled by -r, as far as time permits. */
void race_run(struct race *r, unsigned int rounds);

static inline void *race_page(struct race *r, unsigned int page)
{
	return r->mem + page * PAGE_SIZE;
}

static inline uint64_t race_gpa(unsigned int page)
{
	return TEST_GPA + page * PAGE_SIZE;
}

static inline size_t race_size(struct race *r)
{
	return r->npages * PAGE_SIZE;
}

/* A seed that differs from those of the rounds before and after */
static inline uint8_t race_seed(unsigned int round)
{
	return 1 + round % 200;
}

/* Write contents to pages, as the host. */
void race_stamp(struct race *r, unsigned int page, unsigned int nr, uint8_t seed);
/* The same for all pages */
void race_stamp_all(struct race *r, uint8_t seed);
/* The guest reads all pages. */
void race_check_all(struct race *r);
/* Let the guest read a page and write it with @seed, and check both. */
void race_check_page(struct race *r, unsigned int page, uint8_t seed);
/* Let a pre-fault see the current state of the memory. */
void race_let_in(struct race *r);
void race_advise(struct race *r, unsigned int page, unsigned int nr, int advice);
void race_protect(struct race *r, unsigned int page, unsigned int nr, int prot);

#endif /* SELFTEST_KVM_PRE_FAULT_RACE_H */
