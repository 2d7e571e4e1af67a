// SPDX-License-Identifier: GPL-2.0-only
/*
 * Changes of the host memory under stress. Those of contents or access own the
 * pages; those that must not show (fork, migration, swap, ...) own nothing.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <linux/mempolicy.h>
#include <linux/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "stress.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL	102
#define MADV_GUARD_REMOVE	103
#endif

#define MAX_OFFLINE	100
/* More than that takes long, with a fault for each. */
#define MAX_WRITE_PAGES	64
#define MAX_CHILD_PAGES	128
#define MAX_MOVE_PAGES	64
#define UNPOISON	"/sys/kernel/debug/hwpoison/unpoison-pfn"
#define PAGE_IDLE	"/sys/kernel/mm/page_idle/bitmap"

/* Pages of a buffer */
struct range {
	struct area *area;
	unsigned int buf;
	unsigned int first;
	unsigned int nr;
	void *mem;
	size_t size;
};

static struct range choose_range(struct worker *w)
{
	struct range r = {
		.area = &stress.areas[rnd_below(w, stress.nr_areas)],
		.buf = rnd_below(w, NR_BUFS),
		.first = rnd_below(w, stress.npages),
	};
	unsigned int max = stress.npages - r.first;

	switch (rnd_below(w, 16)) {
	case 0:
		r.first = 0;
		r.nr = stress.npages;
		break;
	case 1:
		r.nr = 1 + rnd_below(w, max);
		break;
	case 2 ... 5:
		r.nr = 1 + rnd_below(w, min(max, 64u));
		break;
	default:
		r.nr = 1 + rnd_below(w, min(max, 4u));
	}

	r.mem = r.area->bufs[r.buf].mem + r.first * PAGE_SIZE;
	r.size = r.nr * PAGE_SIZE;
	return r;
}

static struct page *range_page(struct range *r, unsigned int i)
{
	return &r->area->bufs[r->buf].pages[r->first + i];
}

static void range_lock(struct worker *w, struct range *r)
{
	unsigned int i;

	for (i = 0; i < r->nr; i++) {
		page_lock(range_page(r, i));
		/* Most operations on a range end that. */
		__atomic_store_n(&range_page(r, i)->write_protected, false,
				 __ATOMIC_SEQ_CST);
		w->progress++;
	}
}

static void range_unlock(struct worker *w, struct range *r, enum op op)
{
	unsigned int i;

	for (i = 0; i < r->nr; i++) {
		struct page *p = range_page(r, i);

		note(&p->history, w, op, p->newest);
		page_unlock(p);
	}
}

/* The pages are going to be blank. */
static void range_begin_blank(struct range *r)
{
	unsigned int i;

	for (i = 0; i < r->nr; i++) {
		struct page *p = range_page(r, i);

		__atomic_store_n(&p->blank, page_begin(p), __ATOMIC_SEQ_CST);
	}
}

static void range_end(struct range *r)
{
	unsigned int i;

	for (i = 0; i < r->nr; i++)
		page_end(range_page(r, i), range_page(r, i)->newest);
}

static void range_bad(struct range *r, bool bad)
{
	unsigned int i;

	for (i = 0; i < r->nr; i++) {
		struct page *p = range_page(r, i);

		__atomic_add_fetch(bad ? &p->bad_begin : &p->bad_end, 1,
				   __ATOMIC_SEQ_CST);
	}
}

static void range_check(struct worker *w, struct range *r)
{
	unsigned int i;

	for (i = 0; i < r->nr; i++) {
		page_check(r->area, r->buf, r->first + i);
		w->progress++;
	}
}

static void must(bool ok, struct range *r, const char *what)
{
	TEST_ASSERT(ok, "%s of %u pages of %s: errno %d (%s)", what, r->nr,
		    kind_names[r->area->kind], errno, strerror(errno));
}

/* Write the next version, or none: zeros. */
static void op_write(struct worker *w, struct range *r, enum op op)
{
	unsigned int i;

	for (i = 0; i < r->nr && i < MAX_WRITE_PAGES; i++) {
		struct page *p = range_page(r, i);
		uint32_t version;

		page_lock(p);
		page_check(r->area, r->buf, r->first + i);
		track_begin(p);
		version = page_begin(p);
		if (op == OP_ZERO) {
			__atomic_store_n(&p->blank, version, __ATOMIC_SEQ_CST);
			memset(r->mem + i * PAGE_SIZE, 0, PAGE_SIZE);
		} else {
			page_store(r->area, r->buf, r->first + i, version);
			track_end(w, r->area, r->buf, r->first + i);
		}
		page_end(p, version);
		note(&p->history, w, op, version);
		page_unlock(p);
		w->progress++;
	}
	did(w, op);
}

static void op_drop(struct worker *w, struct range *r, enum op op)
{
	bool is_shared = r->area->kind == KIND_MEMFD;

	/* Shared memory has its contents back, without a hole made. */
	if (op == OP_REMOVE && !is_shared)
		return;

	range_lock(w, r);
	if (rnd_one_in(w, 4))
		range_check(w, r);
	if (op == OP_REMOVE || !is_shared)
		range_begin_blank(r);
	must(!madvise(r->mem, r->size,
		      op == OP_REMOVE ? MADV_REMOVE : MADV_DONTNEED), r,
	     op_names[op]);
	range_end(r);
	range_unlock(w, r, op);
	did(w, op);
}

/* Zeros or the contents, as the kernel pleases, until the next write */
static void op_free(struct worker *w, struct range *r)
{
	if (r->area->kind != KIND_ANON && r->area->kind != KIND_THP)
		return;

	range_lock(w, r);
	range_begin_blank(r);
	must(!madvise(r->mem, r->size, MADV_FREE), r, "MADV_FREE");
	range_unlock(w, r, OP_FREE);
	did(w, OP_FREE);
}

/* Lightweight guard pages: accesses fail, and private contents are gone. */
static void op_guard(struct worker *w, struct range *r)
{
	range_lock(w, r);
	range_bad(r, true);
	/* There are some zero pages on the way to guard pages. */
	if (r->area->kind != KIND_MEMFD)
		range_begin_blank(r);
	if (!madvise(r->mem, r->size, MADV_GUARD_INSTALL)) {
		rnd_sleep(w, 500);
		must(!madvise(r->mem, r->size, MADV_GUARD_REMOVE), r,
		     "MADV_GUARD_REMOVE");
		range_end(r);
		did(w, OP_GUARD);
	} else if (errno == EINVAL) {
		op_missing(OP_GUARD, "no guard pages");
	}
	range_bad(r, false);
	range_unlock(w, r, OP_GUARD);
}

static void op_protect(struct worker *w, struct range *r)
{
	bool readable = rnd_one_in(w, 2);

	range_lock(w, r);
	if (!readable)
		range_bad(r, true);
	must(!mprotect(r->mem, r->size, readable ? PROT_READ : PROT_NONE), r,
	     "mprotect()");
	rnd_sleep(w, 500);
	must(!mprotect(r->mem, r->size, PROT_READ | PROT_WRITE), r,
	     "mprotect()");
	if (!readable)
		range_bad(r, false);
	range_unlock(w, r, OP_PROTECT);
	did(w, OP_PROTECT);
}

/* Away and back again: in between there is nothing. */
static void op_mremap(struct worker *w, struct range *r, void *spare)
{
	if (r->buf == DIVIDED_BUF) {
		r->nr = 1;
		r->size = PAGE_SIZE;
	}

	range_lock(w, r);
	range_bad(r, true);
	must(mremap(r->mem, r->size, r->size, MREMAP_MAYMOVE | MREMAP_FIXED,
		    spare) == spare, r, "mremap()");
	rnd_sleep(w, 200);
	must(mremap(spare, r->size, r->size, MREMAP_MAYMOVE | MREMAP_FIXED,
		    r->mem) == r->mem, r, "mremap()");
	range_bad(r, false);
	if (rnd_one_in(w, 4))
		range_check(w, r);
	range_unlock(w, r, OP_MREMAP);
	did(w, OP_MREMAP);
}

/* A new mapping in the place of the old one */
static void op_renew(struct worker *w, struct range *r)
{
	int flags = MAP_FIXED | MAP_PRIVATE, fd = r->area->bufs[r->buf].fd;

	if (r->area->kind == KIND_MEMFD)
		flags = MAP_FIXED | MAP_SHARED;
	else if (r->area->kind != KIND_FILE)
		flags |= MAP_ANONYMOUS;

	range_lock(w, r);
	if (r->area->kind != KIND_MEMFD)
		range_begin_blank(r);
	must(mmap(r->mem, r->size, PROT_READ | PROT_WRITE, flags, fd,
		  fd < 0 ? 0 : r->first * PAGE_SIZE) == r->mem, r, "mmap()");
	madvise(r->mem, r->size, r->area->kind == KIND_THP ? MADV_HUGEPAGE :
							     MADV_NOHUGEPAGE);
	range_end(r);
	range_unlock(w, r, OP_RENEW);
	did(w, OP_RENEW);
}

const enum op mm_ops[] = {
	OP_WRITE, OP_DONTNEED, OP_REMOVE, OP_FREE, OP_PROTECT, OP_MREMAP,
	OP_RENEW, OP_ZERO, OP_GUARD, NR_OPS
};

void mm_main(struct worker *w)
{
	void *spare = pf_mmap(stress.npages * PAGE_SIZE, PROT_NONE, MAP_PRIVATE |
			      MAP_ANONYMOUS | MAP_NORESERVE, -1);

	while (!stopping()) {
		struct range r = choose_range(w);
		enum op op = choose_op(w, mm_ops);

		/* Most of what is dropped is to come again. */
		if (stress.enabled[OP_WRITE] && rnd_one_in(w, 2))
			op = OP_WRITE;

		switch (op) {
		case OP_WRITE:
			op_write(w, &r, OP_WRITE);
			break;
		case OP_ZERO:
			/* No contents are those of the file there. */
			if (r.area->kind != KIND_FILE)
				op_write(w, &r, OP_ZERO);
			break;
		case OP_GUARD:
			op_guard(w, &r);
			break;
		case OP_DONTNEED:
		case OP_REMOVE:
			op_drop(w, &r, op);
			break;
		case OP_FREE:
			op_free(w, &r);
			break;
		case OP_PROTECT:
			op_protect(w, &r);
			break;
		case OP_MREMAP:
			op_mremap(w, &r, spare);
			break;
		default:
			op_renew(w, &r);
			break;
		}
		w->progress++;
		rnd_sleep(w, 300);
	}
}

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

		mine[i] = r.area->kind != KIND_MEMFD && page_trylock(p);
		/* MADV_FREE has it lose its contents at any time. */
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

	/* Where it is now, it won't be any more. */
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
	int nodes[MAX_MOVE_PAGES], status[MAX_MOVE_PAGES];
	int node = rnd_below(w, 2);
	void *pages[MAX_MOVE_PAGES];
	unsigned int i, nr;
	struct range r;

	if (access("/sys/devices/system/node/node1", F_OK)) {
		op_missing(OP_MOVE_PAGES, "one node");
		return;
	}

	choose_whole(w, &r);
	nr = min_t(unsigned int, r.nr, MAX_MOVE_PAGES);
	for (i = 0; i < nr; i++) {
		pages[i] = r.mem + i * PAGE_SIZE;
		nodes[i] = node;
		status[i] = -1;
	}
	if (syscall(SYS_move_pages, 0, (long)nr, pages, nodes, status,
		    MPOL_MF_MOVE) < 0 && errno == ENOSYS) {
		op_missing(OP_MOVE_PAGES, "no move_pages()");
		return;
	}
	for (i = 0; i < nr; i++) {
		if (status[i] == node) {
			did(w, OP_MOVE_PAGES);
			break;
		}
	}
}

static void op_compact(struct worker *w)
{
	if (pf_write_str("/proc/sys/vm/compact_memory", "1"))
		op_missing(OP_COMPACT, "no compaction");
	else
		did(w, OP_COMPACT);
}

/* Takes the Accessed bits away from what is mapped of a buffer. */
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
			/* All of them are missing. */
			usleep(10000);
		}
		w->progress++;
		pace(w, 2000);
	}
}
