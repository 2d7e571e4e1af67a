// SPDX-License-Identifier: GPL-2.0-only
/*
 * Changes of the contents or of the access of host memory under stress. They lock the
 * pages. process.c has the changes that must be invisible.
 */
#define _GNU_SOURCE
#include <linux/mman.h>

#include "stress.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL	102
#define MADV_GUARD_REMOVE	103
#endif

/* Each page takes a fault: do not write more at a time. */
#define MAX_WRITE_PAGES	64

struct range choose_range(struct worker *w)
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

static void range_lock(struct worker *w, struct range *r)
{
	unsigned int i;

	for (i = 0; i < r->nr; i++) {
		page_lock(range_page(r, i));
		/* Most operations remove the write protection. */
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

/* Begin a version without contents for all pages. */
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
		    type_name(r->area->type), errno, strerror(errno));
}

/* Write the next version, or zeros. */
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
	bool is_shared = r->area->type == TYPE_MEMFD;

	/* Shared memory keeps its contents: only a hole makes it blank. */
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

/* After MADV_FREE, a page reads as zeros or its contents until the next write. */
static void op_free(struct worker *w, struct range *r)
{
	if (r->area->type != TYPE_ANON && r->area->type != TYPE_THP)
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
	/* On the way to guard pages, pages may read as zeros. */
	if (r->area->type != TYPE_MEMFD)
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

/* Move the range away and back; it is unmapped in between. */
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

/* Replace the mapping with a new one. */
static void op_renew(struct worker *w, struct range *r)
{
	int fd = r->area->bufs[r->buf].fd;

	range_lock(w, r);
	if (r->area->type != TYPE_MEMFD)
		range_begin_blank(r);
	pf_map_memory(stress_types[r->area->type], r->mem, r->size, fd,
		      fd < 0 ? 0 : r->first * PAGE_SIZE);
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

		/* Write more often, since most operations drop the contents. */
		if (stress.enabled[OP_WRITE] && rnd_one_in(w, 2))
			op = OP_WRITE;

		switch (op) {
		case OP_WRITE:
			op_write(w, &r, OP_WRITE);
			break;
		case OP_ZERO:
			/* In a private mapping of a file, a blank is not zeros. */
			if (r.area->type != TYPE_FILE)
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
