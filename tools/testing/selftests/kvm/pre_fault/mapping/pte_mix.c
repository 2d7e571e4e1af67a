// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY over pages whose host PTEs differ from page to page: writable,
 * read-only because the page is shared, and absent. Test all patterns of a few pages,
 * and random patterns of a whole page table.
 */
#define _GNU_SOURCE
#include "pte_mix.h"

/* A cycle of CYCLE pages contains every pattern of ORDER pages. */
#define ORDER		6
#define CYCLE		729
#define SHORT		5
#define NR_SHORT	243

#define SIZE		(PTE_MIX_PAGES * PAGE_SIZE)

/* Plan writes to all pages of these states. Return the number of pages. */
static uint64_t plan_writes(struct pte_mix *m, unsigned int states)
{
	uint8_t plan[PTE_MIX_PAGES] = {};
	uint64_t i, nr = 0;

	for (i = m->first; i < mix_end(m); i++) {
		if (states & BIT(m->state[i])) {
			plan[i] = GUEST_SEED;
			nr++;
		}
	}
	pf_plan(m->vcpu, plan, PTE_MIX_PAGES);
	return nr;
}

static void check_writes(struct pte_mix *m, const struct pte_mix_memory *memory)
{
	uint64_t gpa = mix_gpa(m->first), nr;
	struct pf_stats d;
	enum pte_state state;

	/* With dirty logging, every first write faults. */
	nr = plan_writes(m, BIT(PTE_WRITABLE));
	if (!m->slot_flags) {
		pf_guest_no_fault(m->vcpu, PF_WRITE_PLAN, gpa, m->nr, 0, nr);
	} else {
		d = pf_guest_stats(m->vcpu, PF_WRITE_PLAN, gpa, m->nr, 0);
		TEST_ASSERT(d.taken == nr, "%lu faults for %lu first writes",
			    d.taken, nr);
	}

	for (state = PTE_ABSENT; state <= PTE_READONLY; state++) {
		nr = plan_writes(m, BIT(state));
		d = pf_guest_stats(m->vcpu, PF_WRITE_PLAN, gpa, m->nr, 0);
		if (memory->write_faults[state])
			TEST_ASSERT(d.taken >= nr,
				    "%lu faults for writes to %lu pages of state %d",
				    d.taken, nr, state);
	}
}

static void check_log(struct pte_mix *m)
{
	uint64_t bitmap[PTE_MIX_PAGES / 64] = {}, i;

	kvm_vm_get_dirty_log(m->vcpu->vm, TEST_SLOT, bitmap);
	for (i = 0; i < PTE_MIX_PAGES; i++) {
		bool dirty = bitmap[i / 64] >> (i % 64) & 1;
		bool written = i >= m->first && i < mix_end(m);

		TEST_ASSERT(dirty == written, "page %lu is %sdirty", i,
			    dirty ? "" : "not ");
	}
}

static void show_states(struct pte_mix *m)
{
	char text[PTE_MIX_PAGES + 1];

	for (uint64_t i = 0; i < m->nr; i++)
		text[i] = "-rw"[m->state[m->first + i]];
	text[m->nr] = '\0';
	pr_debug("%lu pages from %lu on: %s\n", m->nr, m->first, text);
}

static void check_mix(struct pte_mix *m, const struct pte_mix_memory *memory)
{
	uint64_t gpa = mix_gpa(m->first), i;

	show_states(m);
	memory->lay(m);
	pf_map_pages(m->vcpu, gpa, m->nr * PAGE_SIZE, m->nr);

	pf_plan(m->vcpu, m->seed, PTE_MIX_PAGES);
	pf_guest_no_fault(m->vcpu, PF_READ_PLAN, gpa, m->nr, 0, m->nr);
	check_writes(m, memory);
	pf_guest_check(m->vcpu, gpa, m->nr, GUEST_SEED);
	for (i = m->first; i < mix_end(m); i++)
		TEST_ASSERT(pf_page_is(mix_page(m->mem, i), mix_gpa(i), GUEST_SEED),
			    "page %lu: the guest's write is lost", i);
	memory->check_others(m);
	if (m->slot_flags)
		check_log(m);
}

static void init(struct pte_mix *m, const struct pte_mix_memory *memory, uint32_t flags)
{
	memory->init(m);
	madvise(m->mem, SIZE, MADV_NOHUGEPAGE);
	m->slot_flags = flags;
	m->vcpu = pf_memory_vcpu(flags, m->mem, SIZE);
}

/*
 * Make the shortest cycle that contains all patterns: append the greatest letter that
 * did not yet follow the last ORDER - 1 letters (Martin's algorithm).
 */
static void make_cycle(uint8_t *cycle)
{
	bool used[CYCLE] = {};
	unsigned int i, pattern, last = 0;
	int letter;

	for (i = 0; i < CYCLE; i++) {
		for (letter = NR_PTE_STATES - 1; letter >= 0; letter--) {
			pattern = (last * NR_PTE_STATES + letter) % CYCLE;
			if (!used[pattern])
				break;
		}
		TEST_ASSERT(letter >= 0, "no pattern left after %u", i);
		used[pattern] = true;
		last = pattern;
		cycle[i] = letter;
	}
}

/*
 * Test all patterns at once, at the start and at the end of a page table and across
 * two; each turn shifts the patterns within the table.
 */
static void check_all_patterns(struct pte_mix *m, const struct pte_mix_memory *memory)
{
	static const struct {
		uint64_t first;
		unsigned int turn;
	} rounds[] = {
		{ 0, 0 },
		{ PTE_MIX_PAGES - CYCLE - ORDER, 241 },
		{ 77, 487 },
	};
	uint8_t cycle[CYCLE];
	unsigned int i;
	uint64_t j;

	make_cycle(cycle);
	m->nr = CYCLE + ORDER - 1;
	for (i = 0; i < ARRAY_SIZE(rounds); i++) {
		m->first = rounds[i].first;
		for (j = 0; j < m->nr; j++)
			m->state[m->first + j] = cycle[(j + rounds[i].turn) % CYCLE];
		check_mix(m, memory);
	}
}

/* Test each pattern alone, with no pages around it. */
static void check_short_ranges(struct pte_mix *m, const struct pte_mix_memory *memory)
{
	/* At the table's start, its end, across, and in the middle */
	static const uint64_t first[] = { 0, 512 - SHORT, 510, 512, 200 };
	unsigned int i, j, pattern, nr = NR_SHORT * pf_rounds / 1000 + 1;

	m->nr = SHORT;
	for (i = 0; i < nr && i < NR_SHORT; i++) {
		/* With fewer rounds than patterns, test an even choice of patterns. */
		pattern = nr < NR_SHORT ? i * NR_SHORT / nr : i;
		m->first = first[i % ARRAY_SIZE(first)];
		for (j = 0; j < SHORT; j++, pattern /= NR_PTE_STATES)
			m->state[m->first + j] = pattern % NR_PTE_STATES;
		check_mix(m, memory);
	}
}

static void check_random(struct pte_mix *m, const struct pte_mix_memory *memory)
{
	unsigned int i, nr = 4 * pf_rounds / 1000 + 1;
	uint64_t j;

	srandom(pf_seed);
	pr_info("-S %u repeats the same patterns\n", pf_seed);
	for (i = 0; i < nr; i++) {
		m->nr = 512;
		m->first = random() % (PTE_MIX_PAGES - m->nr);
		for (j = 0; j < m->nr; j++)
			m->state[m->first + j] = random() % NR_PTE_STATES;
		check_mix(m, memory);
	}
}

static void check_memory(const struct pte_mix_memory *memory)
{
	struct pte_mix m = {};

	init(&m, memory, 0);
	check_all_patterns(&m, memory);
	check_short_ranges(&m, memory);
	check_random(&m, memory);
}

/*
 * With dirty logging all SPTEs are read-only, and the first write to some pages must
 * also change the host PTE.
 */
void pte_mix_check_dirty_log(const struct pte_mix_memory *memory)
{
	struct pte_mix m = {};

	init(&m, memory, KVM_MEM_LOG_DIRTY_PAGES);
	check_all_patterns(&m, memory);
}

static void pte_mix_file(void)
{
	check_memory(&pte_mix_file_memory);
}

static void pte_mix_fork(void)
{
	check_memory(&pte_mix_fork_memory);
}

static void pte_mix_swap(void)
{
	check_memory(&pte_mix_swap_memory);
}

static void pte_mix_memfd(void)
{
	check_memory(&pte_mix_memfd_memory);
}

const struct pf_test pf_pte_mix_tests[] = {
	PF_TEST_BATCH(pte_mix_file),
	PF_TEST_BATCH(pte_mix_fork),
	PF_TEST_BATCH(pte_mix_swap),
	PF_TEST_BATCH(pte_mix_memfd),
	{ }
};
