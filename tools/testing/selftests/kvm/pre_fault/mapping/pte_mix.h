/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory whose host PTEs differ from page to page, and checks of it.
 */
#ifndef SELFTEST_KVM_PRE_FAULT_PTE_MIX_H
#define SELFTEST_KVM_PRE_FAULT_PTE_MIX_H

#include "../pre_fault.h"

enum pte_state { PTE_ABSENT, PTE_READONLY, PTE_WRITABLE, NR_PTE_STATES };

#define PTE_MIX_PAGES	1024

enum { SHARED_SEED = 1, OWN_SEED, GUEST_SEED };

struct pte_mix {
	struct kvm_vcpu *vcpu;
	void *mem;
	/* The other mappings of the memory */
	void *other;
	pid_t child;
	int pipe;
	uint32_t slot_flags;
	/* The pages under test, and the state of each */
	uint64_t first;
	uint64_t nr;
	uint8_t state[PTE_MIX_PAGES];
	uint8_t seed[PTE_MIX_PAGES];
};

struct pte_mix_memory {
	void (*init)(struct pte_mix *m);
	/* Set each host PTE to its m->state, and record the contents in m->seed. */
	void (*lay)(struct pte_mix *m);
	/* Check the mappings that must not see the writes of the guest. */
	void (*check_others)(struct pte_mix *m);
	/* The states whose PTE the host has to change first */
	bool write_faults[NR_PTE_STATES];
};

static inline uint64_t mix_end(struct pte_mix *m)
{
	return m->first + m->nr;
}

static inline void *mix_page(void *mem, uint64_t i)
{
	return mem + i * PAGE_SIZE;
}

static inline uint64_t mix_gpa(uint64_t i)
{
	return TEST_GPA + i * PAGE_SIZE;
}

/* pte_mix_memory.c */
extern const struct pte_mix_memory pte_mix_file_memory;
extern const struct pte_mix_memory pte_mix_fork_memory;
extern const struct pte_mix_memory pte_mix_swap_memory;
extern const struct pte_mix_memory pte_mix_memfd_memory;

/* All patterns in a slot with dirty logging */
void pte_mix_check_dirty_log(const struct pte_mix_memory *memory);

#endif /* SELFTEST_KVM_PRE_FAULT_PTE_MIX_H */
