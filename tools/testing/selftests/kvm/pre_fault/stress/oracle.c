// SPDX-License-Identifier: GPL-2.0-only
/*
 * The contents that a page may have.
 *
 * A writer takes the page's lock, begins a new version, makes the change, and ends
 * the version. A reader takes no lock, and may read any version from the floor at
 * the beginning of the read to the newest one at its end. A version without
 * contents (MADV_DONTNEED) reads as a blank.
 *
 * The first and the last word both hold the whole version number, so that each can
 * be checked alone, even if it was read in the middle of a change.
 */
#define _GNU_SOURCE
#include <sched.h>

#include "stress.h"

#define LOAD(x)		__atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define STORE(x, v)	__atomic_store_n(&(x), v, __ATOMIC_SEQ_CST)

/* Tag of the VM: 16 bits, area and buffer: 4, page: 12, version: 32 */
uint64_t page_word(const struct area *area, unsigned int buf, unsigned int page,
		   uint32_t version, unsigned int word)
{
	uint64_t value = (uint64_t)stress.tag << 48 |
			 (uint64_t)(area->type * NR_BUFS + buf) << 44 |
			 (uint64_t)page << 32 | version;

	return word ? ~value : value;
}

bool page_trylock(struct page *p)
{
	return !__atomic_exchange_n(&p->lock, true, __ATOMIC_SEQ_CST);
}

void page_lock(struct page *p)
{
	while (!page_trylock(p))
		sched_yield();
}

void page_unlock(struct page *p)
{
	STORE(p->lock, false);
}

uint32_t page_begin(struct page *p)
{
	uint32_t version = p->newest + 1;

	STORE(p->newest, version);
	return version;
}

void page_end(struct page *p, uint32_t version)
{
	STORE(p->floor, version);
}

static uint64_t *word_of(const struct area *area, unsigned int buf,
			 unsigned int page, unsigned int word)
{
	uint64_t *words = area->bufs[buf].mem + page * PAGE_SIZE;

	return word ? &words[511] : &words[0];
}

void page_store(struct area *area, unsigned int buf, unsigned int page,
		uint32_t version)
{
	unsigned int i;

	for (i = 0; i < NR_WORDS; i++)
		WRITE_ONCE(*word_of(area, buf, page, i),
			   page_word(area, buf, page, version, i));
}

static uint64_t blank_word(const struct area *area, unsigned int buf,
			   unsigned int page, unsigned int word)
{
	return area->type == TYPE_FILE ?
	       page_word(area, buf, page, 0, word) : 0;
}

static bool allowed(const struct area *area, unsigned int buf,
		    unsigned int page, uint32_t floor, unsigned int word,
		    uint64_t value)
{
	struct page *p = &area->bufs[buf].pages[page];
	uint32_t newest = LOAD(p->newest), version;

	if (value == blank_word(area, buf, page, word))
		return LOAD(p->blank) >= floor;

	version = word ? ~value : value;
	return version && version >= floor && version <= newest &&
	       value == page_word(area, buf, page, version, word);
}

/* Check the contents on the host. The caller holds the page's lock. */
void page_check(struct area *area, unsigned int buf, unsigned int page)
{
	struct page *p = &area->bufs[buf].pages[page];
	unsigned int i;

	for (i = 0; i < NR_WORDS; i++) {
		uint64_t value = READ_ONCE(*word_of(area, buf, page, i));

		if (!allowed(area, buf, page, p->floor, i, value))
			stress_fail(V_PAGES, area, page,
				    "the host finds %#lx in word %u, expected version %u%s, i.e. %#lx",
				    value, i, p->floor,
				    p->blank >= p->floor ? " or none" : "",
				    page_word(area, buf, page, p->floor, i));
	}
}

void window_open(struct area *area, unsigned int page, struct window *w)
{
	unsigned int i;

	w->seq = LOAD(area->seq);
	w->cur = LOAD(area->cur);
	w->gpa = LOAD(area->gpa);
	w->flags = LOAD(area->flags);
	for (i = 0; i < NR_BUFS; i++) {
		w->floor[i] = LOAD(area->bufs[i].pages[page].floor);
		w->bad_end[i] = LOAD(area->bufs[i].pages[page].bad_end);
	}
}

/* Return true if the memslot has not changed since. */
bool window_stable(struct area *area, const struct window *w)
{
	return !(w->seq & 1) && LOAD(area->seq) == w->seq;
}

/* Return true if the page was inaccessible for the host at any time since. */
bool window_was_bad(struct area *area, unsigned int page, const struct window *w)
{
	bool stable = window_stable(area, w);
	unsigned int i;

	for (i = 0; i < NR_BUFS; i++) {
		if (stable && i != w->cur)
			continue;
		if (LOAD(area->bufs[i].pages[page].bad_begin) != w->bad_end[i])
			return true;
	}

	return false;
}

bool window_allows_buf(struct area *area, unsigned int buf, unsigned int page,
		       const struct window *w, unsigned int word, uint64_t value)
{
	return allowed(area, buf, page, w->floor[buf], word, value);
}

/* Check a value that the guest read. */
void window_check(struct area *area, unsigned int page, const struct window *w,
		  unsigned int word, uint64_t value)
{
	bool ok = false, stable;
	unsigned int i;

	for (i = 0; i < NR_BUFS; i++) {
		if (i != w->cur && window_stable(area, w))
			continue;
		ok |= window_allows_buf(area, i, page, w, word, value);
	}
	if (ok)
		return;

	stable = window_stable(area, w);
	i = w->cur;
	stress_fail(V_PAGES, area, page,
		    "the guest read %#lx from word %u, expected versions %u to %u%s, i.e. %#lx or newer%s; the host finds %#lx",
		    value, word, w->floor[i], LOAD(area->bufs[i].pages[page].newest),
		    LOAD(area->bufs[i].pages[page].blank) >= w->floor[i] ?
		    " or none" : "",
		    page_word(area, i, page, w->floor[i], word),
		    stable ? "" : ", or the other buffer's",
		    READ_ONCE(*word_of(area, i, page, word)));
}
