// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY over pages whose host PTEs differ from one to the next:
 * writable, read-only because the page is somebody else's, too, and absent. All
 * patterns of a few pages, and random ones of a whole page table.
 */
#define _GNU_SOURCE
#include <sys/wait.h>

#include "pre_fault.h"

enum kind { ABSENT, READONLY, WRITABLE, NR_KINDS };

/* Every pattern of ORDER pages is somewhere in a cycle of CYCLE pages. */
#define ORDER		6
#define CYCLE		729
#define SHORT		5
#define NR_SHORT	243

#define NR_PAGES	1024
#define SIZE		(NR_PAGES * PAGE_SIZE)

enum seed { SHARED_SEED = 1, OWN_SEED, GUEST_SEED };

struct mix {
	struct kvm_vcpu *vcpu;
	void *mem;
	/* The other mappings of the memory */
	void *other;
	pid_t child;
	int pipe;
	uint32_t slot_flags;
	/* The pages under test, and what each of them has */
	uint64_t first;
	uint64_t nr;
	uint8_t kind[NR_PAGES];
	uint8_t seed[NR_PAGES];
};

struct memory {
	void (*init)(struct mix *m);
	/* Have each host PTE as m->kind says, and note contents in m->seed. */
	void (*lay)(struct mix *m);
	/* Check the mappings that must not see the writes of the guest. */
	void (*check_others)(struct mix *m);
	/* The kinds whose PTE the host has to change first */
	bool write_faults[NR_KINDS];
};

static uint64_t end_of(struct mix *m)
{
	return m->first + m->nr;
}

static void *page_of(void *mem, uint64_t i)
{
	return mem + i * PAGE_SIZE;
}

static uint64_t gpa_of(uint64_t i)
{
	return TEST_GPA + i * PAGE_SIZE;
}

static void fill(struct mix *m, uint64_t i, uint8_t seed)
{
	pf_fill(page_of(m->mem, i), gpa_of(i), PAGE_SIZE, seed);
}

static void touch(struct mix *m, uint64_t i)
{
	READ_ONCE(*(uint64_t *)page_of(m->mem, i));
}

static void advise(struct mix *m, uint64_t i, uint64_t nr, int advice)
{
	TEST_ASSERT(!madvise(page_of(m->mem, i), nr * PAGE_SIZE, advice),
		    "madvise(%d): errno %d", advice, errno);
}

/* A private mapping of a file: own copies, file pages mapped and not */
static void init_file(struct mix *m)
{
	int fd = pf_tmpfile(SIZE);

	m->other = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	TEST_ASSERT(m->other != MAP_FAILED, "mmap()");
	pf_fill(m->other, TEST_GPA, SIZE, SHARED_SEED);
	m->mem = pf_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	TEST_ASSERT(m->mem != MAP_FAILED, "mmap()");
	close(fd);
}

static void lay_file(struct mix *m)
{
	uint64_t i;

	advise(m, 0, NR_PAGES, MADV_DONTNEED);
	for (i = m->first; i < end_of(m); i++) {
		m->seed[i] = SHARED_SEED;
		if (m->kind[i] == WRITABLE) {
			m->seed[i] = OWN_SEED;
			fill(m, i, OWN_SEED);
		} else {
			touch(m, i);
		}
	}
	/* Not before now: those around a page are mapped along with it. */
	for (i = m->first; i < end_of(m); i++) {
		if (m->kind[i] == ABSENT)
			advise(m, i, 1, MADV_DONTNEED);
	}
}

static void check_other_mapping(struct mix *m, uint8_t seed)
{
	uint64_t i;

	for (i = m->first; i < end_of(m); i++)
		TEST_ASSERT(pf_page_is(page_of(m->other, i), gpa_of(i), seed),
			    "page %lu: the guest's write is in the wrong place",
			    i);
}

static void check_file(struct mix *m)
{
	check_other_mapping(m, SHARED_SEED);
}

static const struct memory file_memory = {
	.init = init_file,
	.lay = lay_file,
	.check_others = check_file,
	.write_faults = { [ABSENT] = true, [READONLY] = true },
};

/* Own pages, those shared with a forked process, and none */
static void init_anon(struct mix *m)
{
	m->mem = pf_untouched(SIZE);
	m->other = pf_untouched(SIZE);
}

static __noreturn void child(struct mix *m, int fd)
{
	uint64_t i;
	char c;

	/* Until the parent closes its end */
	if (read(fd, &c, 1) != 0)
		_exit(1);
	for (i = m->first; i < end_of(m); i++) {
		uint8_t seed = m->kind[i] == ABSENT ? PF_ZEROS : SHARED_SEED;

		if (!pf_page_is(page_of(m->mem, i), gpa_of(i), seed))
			_exit(2);
	}
	_exit(0);
}

static void lay_fork(struct mix *m)
{
	int fds[2];
	uint64_t i;

	advise(m, 0, NR_PAGES, MADV_DONTNEED);
	for (i = m->first; i < end_of(m); i++) {
		m->seed[i] = m->kind[i] == ABSENT ? PF_ZEROS : SHARED_SEED;
		if (m->kind[i] != ABSENT)
			fill(m, i, SHARED_SEED);
	}

	TEST_ASSERT(!pipe(fds), "pipe()");
	m->child = fork();
	TEST_ASSERT(m->child >= 0, "fork()");
	if (!m->child) {
		close(fds[1]);
		child(m, fds[0]);
	}
	close(fds[0]);
	m->pipe = fds[1];

	for (i = m->first; i < end_of(m); i++) {
		if (m->kind[i] == WRITABLE) {
			m->seed[i] = OWN_SEED;
			fill(m, i, OWN_SEED);
		}
	}
}

static void check_child(struct mix *m)
{
	int status;

	close(m->pipe);
	TEST_ASSERT(waitpid(m->child, &status, 0) == m->child, "waitpid()");
	TEST_ASSERT(!status, "the guest wrote to the other process: status %#x",
		    status);
}

static const struct memory fork_memory = {
	.init = init_anon,
	.lay = lay_fork,
	.check_others = check_child,
	.write_faults = { [ABSENT] = true, [READONLY] = true },
};

/* Pages in memory, the zero page, pages in swap */
static void init_swap(struct mix *m)
{
	pf_need_swap();
	init_anon(m);
}

static void lay_swap(struct mix *m)
{
	uint64_t i, nr = 0, swapped = 0;

	advise(m, 0, NR_PAGES, MADV_DONTNEED);
	for (i = m->first; i < end_of(m); i++) {
		m->seed[i] = m->kind[i] == READONLY ? PF_ZEROS : OWN_SEED;
		if (m->kind[i] == READONLY)
			touch(m, i);
		else
			fill(m, i, OWN_SEED);
	}
	for (i = m->first; i < end_of(m); i++) {
		if (m->kind[i] == ABSENT) {
			advise(m, i, 1, MADV_PAGEOUT);
			swapped += !!(pf_pagemap(page_of(m->mem, i)) &
				      PAGEMAP_SWAP);
			nr++;
		}
	}
	/* One that is in use just then stays. */
	TEST_ASSERT(nr < 64 || swapped, "nothing of %lu pages swapped out", nr);
}

static void check_zero_page(struct mix *m)
{
	check_other_mapping(m, PF_ZEROS);
}

static const struct memory swap_memory = {
	.init = init_swap,
	.lay = lay_swap,
	.check_others = check_zero_page,
	.write_faults = { [READONLY] = true },
};

/* Shared memory, mapped and not; the "read-only" ones do not exist at all. */
static void init_memfd(struct mix *m)
{
	int fd = memfd_create("pre_fault", MFD_CLOEXEC);

	TEST_ASSERT(fd >= 0 && !ftruncate(fd, SIZE), "memfd_create()");
	m->mem = pf_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	m->other = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	TEST_ASSERT(m->mem != MAP_FAILED && m->other != MAP_FAILED, "mmap()");
	close(fd);
}

static void lay_memfd(struct mix *m)
{
	uint64_t i;

	advise(m, 0, NR_PAGES, MADV_REMOVE);
	for (i = m->first; i < end_of(m); i++) {
		m->seed[i] = m->kind[i] == READONLY ? PF_ZEROS : OWN_SEED;
		if (m->kind[i] != READONLY)
			fill(m, i, OWN_SEED);
		if (m->kind[i] == ABSENT)
			advise(m, i, 1, MADV_DONTNEED);
	}
}

static void check_memfd(struct mix *m)
{
	check_other_mapping(m, GUEST_SEED);
}

static const struct memory memfd_memory = {
	.init = init_memfd,
	.lay = lay_memfd,
	.check_others = check_memfd,
};

/* Have the guest write all pages of these kinds. Returns how many there are. */
static uint64_t plan_writes(struct mix *m, unsigned int kinds)
{
	uint8_t plan[NR_PAGES] = {};
	uint64_t i, nr = 0;

	for (i = m->first; i < end_of(m); i++) {
		if (kinds & BIT(m->kind[i])) {
			plan[i] = GUEST_SEED;
			nr++;
		}
	}
	pf_plan(m->vcpu, plan, NR_PAGES);
	return nr;
}

static void check_writes(struct mix *m, const struct memory *memory)
{
	uint64_t gpa = gpa_of(m->first), nr;
	struct pf_stats d;
	enum kind kind;

	/* Where there is a dirty log, every first write is noticed. */
	nr = plan_writes(m, BIT(WRITABLE));
	if (!m->slot_flags) {
		pf_guest_no_fault(m->vcpu, PF_WRITE_PLAN, gpa, m->nr, 0, nr);
	} else {
		d = pf_guest_stats(m->vcpu, PF_WRITE_PLAN, gpa, m->nr, 0);
		TEST_ASSERT(d.taken == nr, "%lu faults for %lu first writes",
			    d.taken, nr);
	}

	for (kind = ABSENT; kind <= READONLY; kind++) {
		nr = plan_writes(m, BIT(kind));
		d = pf_guest_stats(m->vcpu, PF_WRITE_PLAN, gpa, m->nr, 0);
		if (memory->write_faults[kind])
			TEST_ASSERT(d.taken >= nr,
				    "%lu faults for writes to %lu pages of kind %d",
				    d.taken, nr, kind);
	}
}

static void check_log(struct mix *m)
{
	uint64_t bitmap[NR_PAGES / 64] = {}, i;

	kvm_vm_get_dirty_log(m->vcpu->vm, TEST_SLOT, bitmap);
	for (i = 0; i < NR_PAGES; i++) {
		bool dirty = bitmap[i / 64] >> (i % 64) & 1;
		bool written = i >= m->first && i < end_of(m);

		TEST_ASSERT(dirty == written, "page %lu is %sdirty", i,
			    dirty ? "" : "not ");
	}
}

static void show_kinds(struct mix *m)
{
	char text[NR_PAGES + 1];

	for (uint64_t i = 0; i < m->nr; i++)
		text[i] = "-rw"[m->kind[m->first + i]];
	text[m->nr] = '\0';
	pr_debug("%lu pages from %lu on: %s\n", m->nr, m->first, text);
}

static void check_mix(struct mix *m, const struct memory *memory)
{
	uint64_t gpa = gpa_of(m->first), i;

	show_kinds(m);
	memory->lay(m);
	pf_map_pages(m->vcpu, gpa, m->nr * PAGE_SIZE, m->nr);

	pf_plan(m->vcpu, m->seed, NR_PAGES);
	pf_guest_no_fault(m->vcpu, PF_READ_PLAN, gpa, m->nr, 0, m->nr);
	check_writes(m, memory);
	pf_guest_check(m->vcpu, gpa, m->nr, GUEST_SEED);
	for (i = m->first; i < end_of(m); i++)
		TEST_ASSERT(pf_page_is(page_of(m->mem, i), gpa_of(i), GUEST_SEED),
			    "page %lu: the guest's write is lost", i);
	memory->check_others(m);
	if (m->slot_flags)
		check_log(m);
}

static void init(struct mix *m, const struct memory *memory, uint32_t flags)
{
	memory->init(m);
	madvise(m->mem, SIZE, MADV_NOHUGEPAGE);
	m->slot_flags = flags;
	m->vcpu = pf_memory_vcpu(flags, m->mem, SIZE);
}

/*
 * The shortest cycle with all patterns in it: take the greatest letter that was
 * not used yet behind the last ones (Martin's algorithm).
 */
static void make_cycle(uint8_t *cycle)
{
	bool used[CYCLE] = {};
	unsigned int i, pattern, last = 0;
	int letter;

	for (i = 0; i < CYCLE; i++) {
		for (letter = NR_KINDS - 1; letter >= 0; letter--) {
			pattern = (last * NR_KINDS + letter) % CYCLE;
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
 * All patterns at once, and that from the start of a page table, up to the end
 * of one and across; each turn has the patterns elsewhere in the table.
 */
static void check_all_patterns(struct mix *m, const struct memory *memory)
{
	static const struct {
		uint64_t first;
		unsigned int turn;
	} rounds[] = {
		{ 0, 0 },
		{ NR_PAGES - CYCLE - ORDER, 241 },
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
			m->kind[m->first + j] = cycle[(j + rounds[i].turn) % CYCLE];
		check_mix(m, memory);
	}
}

/* Each pattern by itself, with nothing around it. */
static void check_short_ranges(struct mix *m, const struct memory *memory)
{
	/* At the table's start, its end, across, and in the middle */
	static const uint64_t first[] = { 0, 512 - SHORT, 510, 512, 200 };
	unsigned int i, j, pattern, nr = NR_SHORT * pf_rounds / 1000 + 1;

	m->nr = SHORT;
	for (i = 0; i < nr && i < NR_SHORT; i++) {
		/* Not all of them: all over the place, then */
		pattern = nr < NR_SHORT ? i * NR_SHORT / nr : i;
		m->first = first[i % ARRAY_SIZE(first)];
		for (j = 0; j < SHORT; j++, pattern /= NR_KINDS)
			m->kind[m->first + j] = pattern % NR_KINDS;
		check_mix(m, memory);
	}
}

static void check_random(struct mix *m, const struct memory *memory)
{
	unsigned int i, nr = 4 * pf_rounds / 1000 + 1;
	uint64_t j;

	srandom(pf_seed);
	pr_info("-S %u has the same patterns again\n", pf_seed);
	for (i = 0; i < nr; i++) {
		m->nr = 512;
		m->first = random() % (NR_PAGES - m->nr);
		for (j = 0; j < m->nr; j++)
			m->kind[m->first + j] = random() % NR_KINDS;
		check_mix(m, memory);
	}
}

static void check_memory(const struct memory *memory)
{
	struct mix m = {};

	init(&m, memory, 0);
	check_all_patterns(&m, memory);
	check_short_ranges(&m, memory);
	check_random(&m, memory);
}

static void batch_mix_file(void)
{
	check_memory(&file_memory);
}

static void batch_mix_fork(void)
{
	check_memory(&fork_memory);
}

static void batch_mix_swap(void)
{
	check_memory(&swap_memory);
}

static void batch_mix_memfd(void)
{
	check_memory(&memfd_memory);
}

/*
 * With a dirty log all SPTEs are read-only, but the first write to a page is
 * not always just a matter of the log.
 */
static void check_logged(const struct memory *memory)
{
	struct mix m = {};

	init(&m, memory, KVM_MEM_LOG_DIRTY_PAGES);
	check_all_patterns(&m, memory);
}

static void batch_mix_dirty_log_file(void)
{
	check_logged(&file_memory);
}

static void batch_mix_dirty_log_fork(void)
{
	check_logged(&fork_memory);
}

static void batch_mix_dirty_log_swap(void)
{
	check_logged(&swap_memory);
}

static void batch_mix_dirty_log_memfd(void)
{
	check_logged(&memfd_memory);
}

const struct pf_test pf_batch_mix_tests[] = {
	PF_TEST(batch_mix_file),
	PF_TEST(batch_mix_fork),
	PF_TEST(batch_mix_swap),
	PF_TEST(batch_mix_memfd),
	PF_TEST(batch_mix_dirty_log_file),
	PF_TEST(batch_mix_dirty_log_fork),
	PF_TEST(batch_mix_dirty_log_swap),
	PF_TEST(batch_mix_dirty_log_memfd),
	{ }
};
