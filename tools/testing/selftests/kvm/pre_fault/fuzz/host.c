// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fuzzer's host memory: several types, and changes of it that KVM must notice.
 * Keep a record of the access that the host's page tables allow.
 *
 * munmap() leaves holes, in which no other mapping of the process must be placed: map
 * everything else before, and fill the holes before KVM maps memory for its own slots.
 */
#define _GNU_SOURCE
#include <sys/prctl.h>

#include "fuzz.h"

#define ALL		(FZ_MAPPED | FZ_READ | FZ_WRITE)

static const enum pf_memory types[] = {
	PF_ANON, PF_THP, PF_THP_NEW, PF_MEMFD, PF_FILE,
};

static void *hva(uint64_t page)
{
	return fz_host.mem + page * PAGE_SIZE;
}

/* The host splits a huge page when a part of it changes, and unmaps it for that. */
static void split(uint64_t page)
{
	if (!fz_host.huge[page / FZ_BLOCK])
		return;

	fz_host.huge[page / FZ_BLOCK] = false;
	fz_host_gone(page & ~(FZ_BLOCK - 1ul), FZ_BLOCK);
}

static void split_ends(uint64_t page, uint64_t npages)
{
	if (page % FZ_BLOCK)
		split(page);
	if ((page + npages) % FZ_BLOCK)
		split(page + npages);
}

/*
 * When a VMA is cut, Linux unmaps the block around the cut, as to split a huge page,
 * if the VMA covers the whole block. The fuzzer does not track VMAs, so the block may
 * or may not be unmapped.
 */
static void cut_ends(uint64_t page, uint64_t npages)
{
	split_ends(page, npages);
	if (page % FZ_BLOCK)
		fz_host_maybe_gone(page);
	if ((page + npages) % FZ_BLOCK)
		fz_host_maybe_gone(page + npages);
}

static void set_pages(uint64_t page, uint64_t npages, uint8_t value)
{
	memset(fz_host.page + page, value, npages);
}

/* Map new memory of the area's type, without huge pages. */
static void map_new(uint64_t page, uint64_t npages)
{
	const struct fz_area *area = &fz_host.areas[page / FZ_AREA_PAGES];
	uint64_t i;

	fz_note("mmap %#lx+%#lx", page, npages);
	pf_map_memory(area->type, hva(page), npages * PAGE_SIZE, area->fd,
		      area->fd < 0 ? 0 : page % FZ_AREA_PAGES * PAGE_SIZE);
	madvise(hva(page), npages * PAGE_SIZE, MADV_NOHUGEPAGE);

	cut_ends(page, npages);
	for (i = page; i < page + npages; i++)
		fz_host.huge[i / FZ_BLOCK] = false;
	set_pages(page, npages, ALL);
	fz_host_gone(page, npages);
}

/* Map huge pages, if there are enough, and let khugepaged make none later. */
static void make_huge(unsigned int nr, bool zero)
{
	uint64_t page = nr * FZ_AREA_PAGES, block;
	size_t size = FZ_AREA_PAGES * PAGE_SIZE;

	madvise(hva(page), size, MADV_HUGEPAGE);
	for (block = page; block < page + FZ_AREA_PAGES; block += FZ_BLOCK) {
		uint8_t *byte = hva(block);

		if (zero)
			READ_ONCE(*byte);
		else
			WRITE_ONCE(*byte, 1);
		fz_host.huge[block / FZ_BLOCK] = true;
		set_pages(block, FZ_BLOCK, ALL | (zero ? 0 : FZ_PRIVATE));
	}

	if (!zero && pf_smaps(hva(page), size, "AnonHugePages") * 1024 < size) {
		fz_host.can_thp = false;
		map_new(page, FZ_AREA_PAGES);
	}
	madvise(hva(page), size, MADV_NOHUGEPAGE);
}

static void renew_area(unsigned int nr, enum pf_memory type)
{
	struct fz_area *area = &fz_host.areas[nr];
	int old = area->fd;

	if (!fz_host.can_thp && (type == PF_THP || type == PF_THP_NEW))
		type = PF_ANON;

	area->type = type;
	area->fd = -1;
	area->file_pages = FZ_AREA_PAGES;
	if (type == PF_MEMFD || type == PF_FILE)
		area->fd = pf_memfd(FZ_AREA_PAGES * PAGE_SIZE);
	fz_note("area %u: %s", nr, pf_memory_types[type].name);
	map_new(nr * FZ_AREA_PAGES, FZ_AREA_PAGES);
	if (old >= 0)
		close(old);

	if (type == PF_THP || type == PF_THP_NEW)
		make_huge(nr, type == PF_THP_NEW);
}

static void change_protection(uint64_t page, uint64_t npages)
{
	static const uint8_t bits[] = { 0, FZ_READ, FZ_READ | FZ_WRITE };
	unsigned int which = fz_below(3);
	static const int prots[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE };
	uint64_t i;

	/* mprotect() stops at a hole. */
	for (i = page; i < page + npages && fz_host.page[i] & FZ_MAPPED; i++)
		;
	npages = i - page;
	if (!npages)
		return;

	fz_note("mprotect %#lx+%#lx: %u", page, npages, which);
	FZ_ASSERT(!mprotect(hva(page), npages * PAGE_SIZE, prots[which]),
		  "mprotect(): %s", strerror(errno));
	for (i = page; i < page + npages; i++) {
		uint8_t old = fz_host.page[i] & (FZ_READ | FZ_WRITE);

		if (old == bits[which])
			continue;
		if (i == page && i % FZ_BLOCK)
			split(i);
		if ((page + npages) % FZ_BLOCK &&
		    i / FZ_BLOCK == (page + npages) / FZ_BLOCK)
			split(i);
		fz_host.page[i] = (fz_host.page[i] & ~(FZ_READ | FZ_WRITE)) |
				  bits[which];
		fz_host_gone(i, 1);
	}
	if (page % FZ_BLOCK)
		fz_host_maybe_gone(page);
	if ((page + npages) % FZ_BLOCK)
		fz_host_maybe_gone(page + npages);
}

static void discard(uint64_t page, uint64_t npages)
{
	uint64_t i;

	fz_note("MADV_DONTNEED %#lx+%#lx", page, npages);
	/* ENOMEM means a hole; MADV_DONTNEED handles the rest all the same. */
	FZ_ASSERT(!madvise(hva(page), npages * PAGE_SIZE, MADV_DONTNEED) ||
		  errno == ENOMEM, "MADV_DONTNEED: %s", strerror(errno));
	split_ends(page, npages);
	for (i = page; i < page + npages; i++) {
		fz_host.huge[i / FZ_BLOCK] = false;
		fz_host.page[i] &= ~(FZ_PRIVATE | FZ_POISON);
	}
	fz_host_gone(page, npages);
}

static void unmap(uint64_t page, uint64_t npages)
{
	uint64_t i;

	fz_note("munmap %#lx+%#lx", page, npages);
	FZ_ASSERT(!munmap(hva(page), npages * PAGE_SIZE), "munmap()");
	cut_ends(page, npages);
	for (i = page; i < page + npages; i++)
		fz_host.huge[i / FZ_BLOCK] = false;
	set_pages(page, npages, 0);
	fz_host_gone(page, npages);
}

/* Truncate a file. This drops private copies of its pages, too. */
static void truncate_area(unsigned int nr)
{
	struct fz_area *area = &fz_host.areas[nr];
	uint64_t i, page = nr * FZ_AREA_PAGES;

	if (area->fd < 0)
		return;

	area->file_pages = fz_below(3) ? FZ_AREA_PAGES - fz_below(FZ_BLOCK) :
					 fz_below(FZ_AREA_PAGES + 1);
	fz_note("ftruncate of area %u: %#x", nr, area->file_pages);
	FZ_ASSERT(!ftruncate(area->fd, area->file_pages * PAGE_SIZE),
		  "ftruncate()");
	for (i = area->file_pages; i < FZ_AREA_PAGES; i++)
		fz_host.page[page + i] &= ~FZ_PRIVATE;
	fz_host_gone(page + area->file_pages, FZ_AREA_PAGES - area->file_pages);
}

/* Punch a hole into the file below a shared mapping. */
static void punch(uint64_t page)
{
	if (fz_host.areas[page / FZ_AREA_PAGES].type != PF_MEMFD ||
	    !(fz_host.page[page] & FZ_WRITE))
		return;

	fz_note("MADV_REMOVE %#lx", page);
	if (!madvise(hva(page), PAGE_SIZE, MADV_REMOVE))
		fz_host_gone(page, 1);
}

static bool writable(uint64_t page)
{
	return fz_host.page[page] & FZ_WRITE && !(fz_host.page[page] & FZ_POISON) &&
	       !fz_beyond_eof(page);
}

/*
 * This process or the guest has written to a page: a private page that was only read
 * so far is replaced with its copy. The huge zero page is split, or replaced with a
 * huge page.
 */
void fz_host_written(uint64_t page)
{
	uint64_t block = page & ~(FZ_BLOCK - 1ul);

	if (page >= FZ_WINDOW ||
	    fz_host.areas[page / FZ_AREA_PAGES].type == PF_MEMFD ||
	    fz_host.page[page] & FZ_PRIVATE)
		return;

	if (PF_COPIES_HUGE_ZERO && fz_host.huge[page / FZ_BLOCK]) {
		set_pages(block, FZ_BLOCK, ALL | FZ_PRIVATE);
		fz_host_gone(block, FZ_BLOCK);
		return;
	}

	split(page);
	fz_host.page[page] |= FZ_PRIVATE;
	fz_host_gone(page, 1);
}

static void write_pages(uint64_t page, uint64_t npages)
{
	uint64_t i;

	fz_note("write %#lx+%#lx", page, npages);
	for (i = page; i < page + npages; i++) {
		if (!writable(i))
			continue;
		WRITE_ONCE(*(uint64_t *)hva(i), i);
		fz_host_written(i);
	}
}

/* Poison few pages, as they stay lost, and only private ones that were written to. */
static void poison(uint64_t page)
{
	if (!fz_host.can_poison || fz_host.poisoned == FZ_MAX_POISONED ||
	    fz_host.areas[page / FZ_AREA_PAGES].type != PF_ANON || !writable(page))
		return;

	write_pages(page, 1);
	fz_note("MADV_HWPOISON %#lx", page);
	WRITE_ONCE(fz_host.injecting, true);
	fz_host.can_poison = !madvise(hva(page), PAGE_SIZE, MADV_HWPOISON);
	WRITE_ONCE(fz_host.injecting, false);
	if (!fz_host.can_poison)
		return;

	fz_host.poisoned++;
	fz_host.last_poisoned = page;
	fz_host.page[page] |= FZ_POISON;
	fz_host_gone(page, 1);
}

void fz_host_change(void)
{
	uint64_t page = fz_below(FZ_WINDOW), npages;
	unsigned int nr = page / FZ_AREA_PAGES, what = fz_below(100);

	/* Do not cross the end of the area. */
	npages = fz_chance(70) ? 1 + fz_below(16) : 1 + fz_below(FZ_AREA_PAGES);
	npages = min(npages, (nr + 1) * FZ_AREA_PAGES - page);
	if (fz_chance(25)) {
		page &= ~(FZ_BLOCK - 1ul);
		npages = FZ_BLOCK;
	}

	if (what < 30)
		write_pages(page, min(npages, 64ul));
	else if (what < 46)
		discard(page, npages);
	else if (what < 60)
		change_protection(page, npages);
	else if (what < 64)
		unmap(page, min(npages, 64ul));
	else if (what < 74)
		map_new(page, npages);
	else if (what < 80)
		truncate_area(nr);
	else if (what < 83)
		punch(page);
	else if (what < 97)
		renew_area(nr, fz_chance(30) ? PF_THP :
				types[fz_below(ARRAY_SIZE(types))]);
	else
		poison(page);
}

void fz_host_fill_holes(void)
{
	uint64_t page;

	for (page = 0; page < FZ_WINDOW; page++) {
		if (!(fz_host.page[page] & FZ_MAPPED))
			map_new(page, 1);
	}
}

void fz_host_init(void)
{
	size_t size = (FZ_OWN + FZ_BLOCK) * PAGE_SIZE;
	int fd = pf_memfd(FZ_SPARSE_FILE * PAGE_SIZE);
	unsigned int i;

	/* Otherwise the kernel may send SIGBUS when the poison is injected. */
	prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_LATE, 0, 0);
	fz_host.can_poison = !geteuid();
	fz_host.can_thp =
		pf_read_long("/sys/kernel/mm/transparent_hugepage/use_zero_page") == 1;

	fz_host.mem = pf_mmap(size, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	FZ_ASSERT(fz_host.mem != MAP_FAILED, "mmap()");
	madvise(fz_host.mem, size, MADV_NOHUGEPAGE);
	pf_map_memory(PF_MEMFD, hva(FZ_WINDOW), FZ_SPARSE * PAGE_SIZE, fd, 0);

	for (i = 0; i < FZ_NR_AREAS; i++) {
		fz_host.areas[i].fd = -1;
		renew_area(i, types[i % ARRAY_SIZE(types)]);
	}
}
