// SPDX-License-Identifier: GPL-2.0-only
/*
 * The working set of a guest whose memory is a private mapping of a file: the
 * pages in the host's page table after the guest has run, including those that the
 * host has swapped out since. KVM faults in each page that the guest touches, and
 * the host also maps up to 64K of the page cache around it. Thus the set is a
 * little larger than the pages touched; the others are cheap to pre-fault. A page
 * that the guest has written to is no longer the file's page.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "guest.h"

#define PAGEMAP_PRESENT	0x8000000000000000ULL
#define PAGEMAP_SWAPPED	0x4000000000000000ULL
#define PAGEMAP_FILE	0x2000000000000000ULL
#define PAGES_AT_ONCE	512

static int add_range(struct wset *ws, uint64_t gpa, uint64_t size, bool written)
{
	struct wset_range *last = ws->nr ? &ws->ranges[ws->nr - 1] : NULL;

	if (last && last->gpa + last->size == gpa && last->written == written) {
		last->size += size;
		return 0;
	}
	/* The array is full when its length is a power of two. */
	if (!(ws->nr & (ws->nr - 1))) {
		void *p = realloc(ws->ranges, (ws->nr ? 2 * ws->nr : 1) *
				  sizeof(*ws->ranges));

		if (!p) {
			warn("realloc");
			return -1;
		}
		ws->ranges = p;
	}
	ws->ranges[ws->nr++] = (struct wset_range) {
		.gpa = gpa, .size = size, .written = written,
	};
	return 0;
}

/* Read @nr entries of the page map, from the entry of @hva on. */
static int read_entries(int fd, const void *hva, uint64_t *entries, size_t nr)
{
	size_t len = nr * sizeof(*entries), done = 0;
	off_t where = (uintptr_t)hva / SZ_4K * sizeof(*entries);

	while (done < len) {
		ssize_t ret = pread(fd, (char *)entries + done, len - done,
				    where + done);

		if (ret < 0 && errno == EINTR)
			continue;
		if (ret <= 0) {
			if (!ret)
				errno = ENODATA;
			warn("/proc/self/pagemap");
			return -1;
		}
		done += ret;
	}
	return 0;
}

/**
 * wset_record - record the pages that a guest has touched
 * @ws: the working set; empty, or from this function
 * @mem: the guest's memory, from snapshot_map()
 *
 * Return: 0, or -1 after a message
 */
int wset_record(struct wset *ws, const struct memory *mem)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entries[PAGES_AT_ONCE];
	int ret = -1;

	if (fd < 0) {
		warn("/proc/self/pagemap");
		return -1;
	}
	wset_free(ws);
	for (uint64_t off = 0; off < mem->size; off += SZ_4K) {
		uint64_t page = off / SZ_4K, left = mem->size / SZ_4K - page;
		uint64_t entry;

		if (!(page % PAGES_AT_ONCE) &&
		    read_entries(fd, mem->hva + off, entries,
				 left < PAGES_AT_ONCE ? left : PAGES_AT_ONCE))
			goto out;
		entry = entries[page % PAGES_AT_ONCE];
		if (entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED) &&
		    add_range(ws, off, SZ_4K, !(entry & PAGEMAP_FILE)))
			goto out;
	}
	ret = 0;
out:
	close(fd);
	return ret;
}

/**
 * wset_write - write a working set to a file, a line for each range
 * @ws: the working set
 * @path: the file
 *
 * Return: 0, or -1 after a message
 */
int wset_write(const struct wset *ws, const char *path)
{
	FILE *file = fopen(path, "we");
	int ret = 0;

	if (!file) {
		warn("%s", path);
		return -1;
	}
	for (unsigned int i = 0; i < ws->nr; i++) {
		const struct wset_range *range = &ws->ranges[i];

		fprintf(file, "%#llx %#llx %s\n",
			(unsigned long long)range->gpa,
			(unsigned long long)range->size,
			range->written ? "written" : "read");
	}
	if (ferror(file) | fclose(file)) {
		warn("%s", path);
		ret = -1;
	}
	return ret;
}

/**
 * wset_read - read a file of wset_write()
 * @ws: the working set; empty
 * @path: the file
 * @size: size of the memory, which must contain all pages
 *
 * Return: 0, or -1 after a message
 */
int wset_read(struct wset *ws, const char *path, uint64_t size)
{
	FILE *file = fopen(path, "re");
	unsigned long long gpa, len;
	char how[8];
	int n, ret = 0;

	if (!file) {
		warn("%s", path);
		return -1;
	}
	while (!ret && (n = fscanf(file, "%llx %llx %7s\n", &gpa, &len,
				   how)) != EOF) {
		if (n != 3 || (gpa | len) % SZ_4K || !len || gpa >= size ||
		    len > size - gpa) {
			warnx("%s: no working set of this guest", path);
			ret = -1;
		} else {
			ret = add_range(ws, gpa, len, *how == 'w');
		}
	}
	if (!ret && ferror(file)) {
		warn("%s", path);
		ret = -1;
	}
	fclose(file);
	return ret;
}

/**
 * wset_free - empty a working set
 * @ws: the working set of wset_record() or wset_read(), or empty
 */
void wset_free(struct wset *ws)
{
	free(ws->ranges);
	*ws = (struct wset) { 0 };
}
