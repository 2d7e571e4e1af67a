// SPDX-License-Identifier: GPL-2.0-only
/*
 * Changes of host memory under stress that must be invisible: fork(), migration, swap
 * and others. They lock no page.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <linux/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "stress.h"

#define MAX_OFFLINE	100
#define MAX_CHILD_PAGES	128
#define UNPOISON	"/sys/kernel/debug/hwpoison/unpoison-pfn"
#define PAGE_IDLE	"/sys/kernel/mm/page_idle/bitmap"

/* The range, or some of the memory with the guest's code and page tables */
static void choose_whole(struct worker *w, struct range *r)
{
	struct userspace_mem_region *region;

	*r = choose_range(w);
	if (!rnd_one_in(w, 4))
		return;

	region = memslot2region(stress.vm, 0);
	r->first = rnd_below(w, region->region.memory_size / PAGE_SIZE);
	r->nr = 1 + rnd_below(w, region->region.memory_size / PAGE_SIZE -
			      r->first);
	r->mem = region->host_mem + r->first * PAGE_SIZE;
	r->size = r->nr * PAGE_SIZE;
}

static void advise_whole(struct worker *w, enum op what, int advice)
{
	struct range r;

	choose_whole(w, &r);
	if (what == OP_COLLAPSE) {
		r.size += (unsigned long)r.mem % SZ_2M;
		r.mem -= (unsigned long)r.mem % SZ_2M;
		r.size = max_t(size_t, r.size, SZ_2M);
	}
	if (!madvise(r.mem, r.size, advice))
		did(w, what);
	else if (what == OP_COLLAPSE && errno == EINVAL &&
		 access("/sys/kernel/mm/transparent_hugepage", F_OK))
		op_missing(what, "no transparent huge pages");
}

/* The child's pages must not change. */
static int check_child(struct range *r, const bool *mine, unsigned int usecs)
{
	uint64_t words[MAX_CHILD_PAGES][NR_WORDS];
	unsigned int i, pass, word;

	for (pass = 0; pass < 2; pass++) {
		for (i = 0; i < r->nr; i++) {
			uint64_t *page = r->mem + i * PAGE_SIZE;

			for (word = 0; mine[i] && word < NR_WORDS; word++) {
				uint64_t *p = &page[word ? 511 : 0];

				if (!pass)
					words[i][word] = READ_ONCE(*p);
				else if (words[i][word] != READ_ONCE(*p))
					return 1 + i;
			}
		}
		if (!pass)
			usleep(usecs);
	}

	return 0;
}

static void op_fork(struct worker *w)
{
	bool mine[MAX_CHILD_PAGES];
	struct range r = choose_range(w);
	unsigned int i, usecs = rnd_below(w, 20000);
	int status;
	pid_t pid;

	r.nr = min_t(unsigned int, stress.npages - r.first, MAX_CHILD_PAGES);
	for (i = 0; i < r.nr; i++) {
		struct page *p = range_page(&r, i);

		mine[i] = r.area->type != TYPE_MEMFD && page_trylock(p);
		/* After MADV_FREE, the page may lose its contents at any time. */
		if (mine[i] && p->blank > p->floor) {
			page_unlock(p);
			mine[i] = false;
		}
	}

	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(check_child(&r, mine, usecs));
	}

	for (i = 0; i < r.nr; i++) {
		if (mine[i]) {
			note(&range_page(&r, i)->history, w, OP_FORK,
			     range_page(&r, i)->newest);
			page_unlock(range_page(&r, i));
		}
	}
	TEST_ASSERT(pid > 0 && waitpid(pid, &status, 0) == pid, "fork()");
	if (WIFEXITED(status) && WEXITSTATUS(status))
		stress_fail(V_PAGES, r.area, r.first + WEXITSTATUS(status) - 1,
			    "a page of buffer %u changed in a process that was forked off",
			    r.buf);
	else if (status)
		stress_fail(V_PAGES, r.area, r.first,
			    "a process that was forked off ended with status %#x",
			    status);
	did(w, OP_FORK);
}

static void op_offline(struct worker *w)
{
	struct range r = choose_range(w);
	char pfn[24];

	if (stress.shared->done[OP_OFFLINE] >= MAX_OFFLINE || !rnd_one_in(w, 8))
		return;

	/* Offlining moves the page: read its pfn now. */
	snprintf(pfn, sizeof(pfn), "%lu",
		 (unsigned long)(pf_pagemap(r.mem) & PAGEMAP_PFN));
	if (!madvise(r.mem, PAGE_SIZE, MADV_SOFT_OFFLINE)) {
		pf_write_str(UNPOISON, pfn);
		did(w, OP_OFFLINE);
	} else if (errno == EINVAL || errno == EPERM) {
		op_missing(OP_OFFLINE, strerror(errno));
	}
}

static void op_move_pages(struct worker *w)
{
	int node = rnd_below(w, 2), moved;
	struct range r;

	if (access("/sys/devices/system/node/node1", F_OK)) {
		op_missing(OP_MOVE_PAGES, "one node");
		return;
	}

	choose_whole(w, &r);
	moved = pf_move_pages(r.mem, r.nr, node);
	if (moved < 0 && errno == ENOSYS)
		op_missing(OP_MOVE_PAGES, "no move_pages()");
	else if (moved > 0)
		did(w, OP_MOVE_PAGES);
}

static void op_compact(struct worker *w)
{
	if (pf_write_str("/proc/sys/vm/compact_memory", "1"))
		op_missing(OP_COMPACT, "no compaction");
	else
		did(w, OP_COMPACT);
}

/* Clear the Accessed bits of the mapped pages of a buffer. */
static void op_idle(struct worker *w)
{
	struct range r = choose_range(w);
	uint64_t pfn, all = -1ul;
	unsigned int i;
	int fd;

	fd = open(PAGE_IDLE, O_WRONLY);
	if (fd < 0) {
		op_missing(OP_IDLE, "no idle page tracking");
		return;
	}
	for (i = 0; i < r.nr; i += 1 + rnd_below(w, 64)) {
		pfn = pf_pagemap(r.mem + i * PAGE_SIZE);
		if (!(pfn & PAGEMAP_PRESENT))
			continue;
		pfn &= PAGEMAP_PFN;
		if (pwrite(fd, &all, sizeof(all), pfn / 64 * 8) == sizeof(all))
			did(w, OP_IDLE);
	}
	close(fd);
}

const enum op whole_mm_ops[] = {
	OP_FORK, OP_COLLAPSE, OP_PAGEOUT, OP_COLD, OP_POPULATE, OP_KSM,
	OP_SOFT_DIRTY, OP_OFFLINE, OP_MOVE_PAGES, OP_COMPACT, OP_IDLE, NR_OPS
};

void whole_mm_main(struct worker *w)
{
	while (!stopping()) {
		switch (choose_op(w, whole_mm_ops)) {
		case OP_FORK:
			op_fork(w);
			break;
		case OP_COLLAPSE:
			advise_whole(w, OP_COLLAPSE, MADV_COLLAPSE);
			break;
		case OP_PAGEOUT:
			advise_whole(w, OP_PAGEOUT, MADV_PAGEOUT);
			break;
		case OP_COLD:
			advise_whole(w, OP_COLD, MADV_COLD);
			break;
		case OP_POPULATE:
			advise_whole(w, OP_POPULATE, MADV_POPULATE_WRITE);
			break;
		case OP_KSM:
			op_ksm(w);
			break;
		case OP_SOFT_DIRTY:
			op_soft_dirty(w);
			break;
		case OP_OFFLINE:
			op_offline(w);
			break;
		case OP_MOVE_PAGES:
			op_move_pages(w);
			break;
		case OP_COMPACT:
			if (rnd_one_in(w, 8))
				op_compact(w);
			break;
		case OP_IDLE:
			op_idle(w);
			break;
		default:
			/* The kernel has none of these operations. */
			usleep(10000);
		}
		w->progress++;
		pace(w, 2000);
	}
}
