// SPDX-License-Identifier: GPL-2.0-only
/* Test wset_record() with a fake page map. */
#include <sys/types.h>

static ssize_t fake_pread(int fd, void *buf, size_t len, off_t offset);
#define pread fake_pread
#include "wset.c"
#undef pread

#include <string.h>

#define NR_PAGES	1200
#define FIRST_PAGE	512

static uint64_t map[NR_PAGES];
/* The maximum that a call reads, in bytes, and the end of the map, in pages */
static size_t most;
static unsigned int end;

static ssize_t fake_pread(int fd, void *buf, size_t len, off_t offset)
{
	off_t at = offset - FIRST_PAGE * 8;

	(void)fd;
	if (at < 0 || at >= (off_t)end * 8)
		return 0;
	if (len > end * 8 - (size_t)at)
		len = end * 8 - at;
	if (len > most)
		len = most;
	memcpy(buf, (char *)map + at, len);
	return len;
}

static int test(const char *name, size_t limit, unsigned int pages, int want)
{
	static const struct wset_range ranges[] = {
		{ .gpa = 1 * SZ_4K, .size = 1 * SZ_4K },
		{ .gpa = 2 * SZ_4K, .size = 2 * SZ_4K, .written = true },
		{ .gpa = 1199 * SZ_4K, .size = SZ_4K },
	};
	static int nr;
	struct memory mem = {
		.hva = (void *)(FIRST_PAGE * SZ_4K), .size = NR_PAGES * SZ_4K,
	};
	struct wset ws = { 0 };
	bool ok;

	most = limit;
	end = pages;
	ok = wset_record(&ws, &mem) == want;
	if (!want) {
		ok = ok && ws.nr == ARRAY_SIZE(ranges);
		for (unsigned int i = 0; ok && i < ws.nr; i++)
			ok = ws.ranges[i].gpa == ranges[i].gpa &&
			     ws.ranges[i].size == ranges[i].size &&
			     ws.ranges[i].written == ranges[i].written;
	}
	wset_free(&ws);
	printf("%sok %d - %s\n", ok ? "" : "not ", ++nr, name);
	return !ok;
}

int main(void)
{
	int bad;

	map[1] = PAGEMAP_PRESENT | PAGEMAP_FILE;
	map[2] = PAGEMAP_PRESENT;
	/* Only pages that the guest has written can be swapped out. */
	map[3] = PAGEMAP_SWAPPED | 0x1234;
	map[NR_PAGES - 1] = PAGEMAP_PRESENT | PAGEMAP_FILE;

	bad = test("wset_record", SIZE_MAX, NR_PAGES, 0);
	bad += test("wset_record_short_read", 1001, NR_PAGES, 0);
	bad += test("wset_record_early_end", SIZE_MAX, NR_PAGES - 1, -1);
	printf("1..3\n");
	return bad;
}
