// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that has each host PTE absent, read-only or writable, as asked for: a private
 * file, pages shared with a forked process, swap, shared memory.
 */
#define _GNU_SOURCE

#include "pte_mix.h"

#define SIZE		(PTE_MIX_PAGES * PAGE_SIZE)

static void fill(struct pte_mix *m, uint64_t i, uint8_t seed)
{
	pf_fill(mix_page(m->mem, i), mix_gpa(i), PAGE_SIZE, seed);
}

static void touch(struct pte_mix *m, uint64_t i)
{
	READ_ONCE(*(uint64_t *)mix_page(m->mem, i));
}

static void advise(struct pte_mix *m, uint64_t i, uint64_t nr, int advice)
{
	TEST_ASSERT(!madvise(mix_page(m->mem, i), nr * PAGE_SIZE, advice),
		    "madvise(%d): errno %d", advice, errno);
}

/* A private mapping of a file: own copies, file pages mapped and not */
static void init_file(struct pte_mix *m)
{
	int fd = pf_tmpfile(SIZE);

	m->other = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	TEST_ASSERT(m->other != MAP_FAILED, "mmap()");
	pf_fill(m->other, TEST_GPA, SIZE, SHARED_SEED);
	m->mem = pf_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	TEST_ASSERT(m->mem != MAP_FAILED, "mmap()");
	close(fd);
}

static void lay_file(struct pte_mix *m)
{
	uint64_t i;

	advise(m, 0, PTE_MIX_PAGES, MADV_DONTNEED);
	for (i = m->first; i < mix_end(m); i++) {
		m->seed[i] = SHARED_SEED;
		if (m->state[i] == PTE_WRITABLE) {
			m->seed[i] = OWN_SEED;
			fill(m, i, OWN_SEED);
		} else {
			touch(m, i);
		}
	}
	/* Do this last: the host maps pages around a page along with it. */
	for (i = m->first; i < mix_end(m); i++) {
		if (m->state[i] == PTE_ABSENT)
			advise(m, i, 1, MADV_DONTNEED);
	}
}

static void check_other_mapping(struct pte_mix *m, uint8_t seed)
{
	uint64_t i;

	for (i = m->first; i < mix_end(m); i++)
		TEST_ASSERT(pf_page_is(mix_page(m->other, i), mix_gpa(i), seed),
			    "page %lu: the guest's write is in the wrong place",
			    i);
}

static void check_file(struct pte_mix *m)
{
	check_other_mapping(m, SHARED_SEED);
}

const struct pte_mix_memory pte_mix_file_memory = {
	.init = init_file,
	.lay = lay_file,
	.check_others = check_file,
	.write_faults = { [PTE_ABSENT] = true, [PTE_READONLY] = true },
};

/* Private pages, pages shared with a forked process, and absent pages */
static void init_anon(struct pte_mix *m)
{
	m->mem = pf_mem(PF_ANON_NEW, SIZE, 0);
	m->other = pf_mem(PF_ANON_NEW, SIZE, 0);
}

static __noreturn void child(struct pte_mix *m, int fd)
{
	uint64_t i;
	char c;

	/* Wait until the parent closes its end of the pipe. */
	if (read(fd, &c, 1) != 0)
		_exit(1);
	for (i = m->first; i < mix_end(m); i++) {
		uint8_t seed = m->state[i] == PTE_ABSENT ? PF_ZEROS : SHARED_SEED;

		if (!pf_page_is(mix_page(m->mem, i), mix_gpa(i), seed))
			_exit(2);
	}
	_exit(0);
}

static void lay_fork(struct pte_mix *m)
{
	int fds[2];
	uint64_t i;

	advise(m, 0, PTE_MIX_PAGES, MADV_DONTNEED);
	for (i = m->first; i < mix_end(m); i++) {
		m->seed[i] = m->state[i] == PTE_ABSENT ? PF_ZEROS : SHARED_SEED;
		if (m->state[i] != PTE_ABSENT)
			fill(m, i, SHARED_SEED);
	}

	TEST_ASSERT(!pipe(fds), "pipe()");
	m->child = pf_fork();
	if (!m->child) {
		close(fds[1]);
		child(m, fds[0]);
	}
	close(fds[0]);
	m->pipe = fds[1];

	for (i = m->first; i < mix_end(m); i++) {
		if (m->state[i] == PTE_WRITABLE) {
			m->seed[i] = OWN_SEED;
			fill(m, i, OWN_SEED);
		}
	}
}

static void check_child(struct pte_mix *m)
{
	int status;

	close(m->pipe);
	status = pf_wait(m->child);
	TEST_ASSERT(!status, "the guest wrote to the other process: status %#x",
		    status);
}

const struct pte_mix_memory pte_mix_fork_memory = {
	.init = init_anon,
	.lay = lay_fork,
	.check_others = check_child,
	.write_faults = { [PTE_ABSENT] = true, [PTE_READONLY] = true },
};

/* Pages in memory, the zero page, pages in swap */
static void init_swap(struct pte_mix *m)
{
	pf_need_swap();
	init_anon(m);
}

static void lay_swap(struct pte_mix *m)
{
	uint64_t i, nr = 0, swapped = 0;

	advise(m, 0, PTE_MIX_PAGES, MADV_DONTNEED);
	for (i = m->first; i < mix_end(m); i++) {
		m->seed[i] = m->state[i] == PTE_READONLY ? PF_ZEROS : OWN_SEED;
		if (m->state[i] == PTE_READONLY)
			touch(m, i);
		else
			fill(m, i, OWN_SEED);
	}
	for (i = m->first; i < mix_end(m); i++) {
		if (m->state[i] == PTE_ABSENT) {
			advise(m, i, 1, MADV_PAGEOUT);
			swapped += !!(pf_pagemap(mix_page(m->mem, i)) &
				      PAGEMAP_SWAP);
			nr++;
		}
	}
	/* A page that is in use at that moment is not swapped out. */
	TEST_ASSERT(nr < 64 || swapped, "nothing of %lu pages swapped out", nr);
}

static void check_zero_page(struct pte_mix *m)
{
	check_other_mapping(m, PF_ZEROS);
}

const struct pte_mix_memory pte_mix_swap_memory = {
	.init = init_swap,
	.lay = lay_swap,
	.check_others = check_zero_page,
	.write_faults = { [PTE_READONLY] = true },
};

/* Shared memory, mapped and not; the "read-only" ones do not exist at all. */
static void init_memfd(struct pte_mix *m)
{
	int fd = pf_memfd(SIZE);

	m->mem = pf_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	m->other = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	TEST_ASSERT(m->mem != MAP_FAILED && m->other != MAP_FAILED, "mmap()");
	close(fd);
}

static void lay_memfd(struct pte_mix *m)
{
	uint64_t i;

	advise(m, 0, PTE_MIX_PAGES, MADV_REMOVE);
	for (i = m->first; i < mix_end(m); i++) {
		m->seed[i] = m->state[i] == PTE_READONLY ? PF_ZEROS : OWN_SEED;
		if (m->state[i] != PTE_READONLY)
			fill(m, i, OWN_SEED);
		if (m->state[i] == PTE_ABSENT)
			advise(m, i, 1, MADV_DONTNEED);
	}
}

static void check_memfd(struct pte_mix *m)
{
	check_other_mapping(m, GUEST_SEED);
}

const struct pte_mix_memory pte_mix_memfd_memory = {
	.init = init_memfd,
	.lay = lay_memfd,
	.check_others = check_memfd,
};
