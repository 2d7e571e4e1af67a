// SPDX-License-Identifier: GPL-2.0-only
/*
 * Write tracking under stress: userfaultfd's write protection and soft-dirty bits. A
 * write by the guest or by the host that is not tracked went through a mapping that
 * should have been zapped. Also KSM, which write-protects pages, too.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/mman.h>
#include <linux/userfaultfd.h>

#include "stress.h"

#define LOAD(x)		__atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define STORE(x, v)	__atomic_store_n(&(x), v, __ATOMIC_SEQ_CST)

#define MAX_WP_PAGES	64
#define WP_PERIOD	0.02
/* Reading a page's soft-dirty bit takes a while. */
#define CHECK_ONE_IN	8

/* Odd while soft-dirty bits are cleared */
static uint32_t soft_dirty_seq;

/* The owner of a page calls this before a write by itself or by the guest. */
void track_begin(struct page *p)
{
	p->soft_dirty_seq = LOAD(soft_dirty_seq);
}

/* The owner calls this after the write. */
void track_end(struct worker *w, struct area *area, unsigned int buf,
	       unsigned int page)
{
	struct page *p = &area->bufs[buf].pages[page];
	void *mem = area->bufs[buf].mem + page * PAGE_SIZE;

	if (LOAD(p->write_protected) && !stopping())
		stress_fail(V_PAGES, area, page,
			    "a page of buffer %u was written, though userfaultfd protects it",
			    buf);

	/* A page of shared memory loses the bit when its PTE is zapped. */
	if (area->type == TYPE_MEMFD || !LOAD(soft_dirty_seq) ||
	    !rnd_one_in(w, CHECK_ONE_IN))
		return;
	if (!(pf_pagemap(mem) & PAGEMAP_SOFT_DIRTY) &&
	    !(p->soft_dirty_seq & 1) && LOAD(soft_dirty_seq) == p->soft_dirty_seq)
		stress_fail(V_PAGES, area, page,
			    "a page of buffer %u was written, and is not soft-dirty",
			    buf);
}

/* New kernels can clear soft-dirty bits even if they have none. */
static bool has_soft_dirty_bits(void)
{
	static int written;

	WRITE_ONCE(written, 1);
	return pf_pagemap(&written) & PAGEMAP_SOFT_DIRTY;
}

void op_soft_dirty(struct worker *w)
{
	int ret;

	if (!rnd_one_in(w, 4))
		return;

	if (!soft_dirty_seq && !has_soft_dirty_bits()) {
		op_missing(OP_SOFT_DIRTY, "no soft-dirty bits");
		return;
	}

	STORE(soft_dirty_seq, soft_dirty_seq + 1);
	ret = pf_write_str("/proc/self/clear_refs", "4");
	STORE(soft_dirty_seq, soft_dirty_seq + 1);
	TEST_ASSERT(!ret, "soft-dirty bits can't be cleared");
	did(w, OP_SOFT_DIRTY);
}

/* KSM merges pages of zeros, which OP_ZERO makes. */
void op_ksm(struct worker *w)
{
	struct area *area = &stress.areas[rnd_below(w, stress.nr_areas)];
	unsigned int first = rnd_below(w, stress.npages);
	unsigned int nr = 1 + rnd_below(w, stress.npages - first);
	bool merge = !rnd_one_in(w, 8);

	if (access("/sys/kernel/mm/ksm", F_OK)) {
		op_missing(OP_KSM, "no KSM");
		return;
	}
	pf_ksm_start();
	madvise(area->bufs[DIVIDED_BUF].mem + first * PAGE_SIZE, nr * PAGE_SIZE,
		merge ? MADV_MERGEABLE : MADV_UNMERGEABLE);
	if (pf_ksm_merged() > 0)
		did(w, OP_KSM);
}

static struct page *page_at(void *mem, struct area **area)
{
	unsigned int i, buf;

	for (i = 0; i < stress.nr_areas; i++) {
		for (buf = 0; buf < NR_BUFS; buf++) {
			struct buffer *b = &stress.areas[i].bufs[buf];
			size_t offset = mem - b->mem;

			*area = &stress.areas[i];
			if (mem >= b->mem && offset < stress.npages * PAGE_SIZE)
				return &b->pages[offset / PAGE_SIZE];
		}
	}
	return NULL;
}

static int uffd_protect(int fd, void *page, bool protect)
{
	int ret;

	/* EAGAIN means that mremap() or fork() is changing the address space. */
	do {
		ret = __pf_uffd_protect(fd, page, protect);
	} while (ret && errno == EAGAIN && !stopping());

	return ret;
}

static void protect_page(struct worker *w, int fd, struct page *p, void *mem)
{
	if (!page_trylock(p))
		return;

	/*
	 * After MADV_FREE, a page may lose the PTE that is to be protected. KSM drops
	 * the protection when it merges blank pages.
	 */
	if (p->blank < p->floor) {
		/* A page that was never read has no PTE, either. */
		READ_ONCE(*(uint64_t *)mem);
		if (!uffd_protect(fd, mem, true)) {
			STORE(p->write_protected, true);
			note(&p->history, w, OP_UFFD_WP, p->newest);
			did(w, OP_UFFD_WP);
		}
	}
	page_unlock(p);
}

static void protect_some(struct worker *w, int fd)
{
	struct area *area = &stress.areas[rnd_below(w, stress.nr_areas)];
	struct buffer *b = &area->bufs[DIVIDED_BUF];
	unsigned int first = rnd_below(w, stress.npages);
	unsigned int nr = 1 + rnd_below(w, min_t(unsigned int, MAX_WP_PAGES,
						 stress.npages - first));
	void *mem = b->mem + first * PAGE_SIZE;

	/* This fails if a part of the memory is unmapped at that moment. */
	if (__pf_uffd_register(fd, mem, nr * PAGE_SIZE, UFFDIO_REGISTER_MODE_WP))
		return;

	for (; nr; nr--, first++, mem += PAGE_SIZE)
		protect_page(w, fd, &b->pages[first], mem);
}

/* Let the writes continue that userfaultfd has stopped. */
static void resolve(struct worker *w, int fd)
{
	struct area *area = NULL;
	struct page *p;
	void *mem;

	while ((mem = pf_uffd_poll(fd, 1))) {
		p = page_at(mem, &area);
		TEST_ASSERT(p, "userfaultfd: %p is in no buffer", mem);
		STORE(p->write_protected, false);
		TEST_ASSERT(!uffd_protect(fd, mem, false) || stopping(),
			    "userfaultfd: a page of %s can't be unprotected: %s",
			    type_name(area->type), strerror(errno));
		w->progress++;
	}
}

/* Not all kernels write-protect the memory of files, too. */
static int uffd_wp_open(void)
{
	uint64_t features;
	int fd = __pf_uffd_open(&features);

	if (fd < 0 || features & UFFD_FEATURE_PAGEFAULT_FLAG_WP)
		return fd;
	close(fd);
	return -1;
}

void uffd_main(struct worker *w)
{
	double next = pf_now(), now;
	int fd = uffd_wp_open();

	if (fd < 0) {
		op_missing(OP_UFFD_WP, "no write protection by userfaultfd");
		return;
	}

	while (!stopping()) {
		resolve(w, fd);
		w->progress++;
		now = pf_now();
		if (now < next)
			continue;
		next = now + WP_PERIOD;
		protect_some(w, fd);
	}

	/* This lets all waiting threads continue. */
	close(fd);
}
