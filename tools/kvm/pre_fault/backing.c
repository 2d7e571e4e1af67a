// SPDX-License-Identifier: GPL-2.0-only
/* Host memory of each type, filled before the guest runs. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pre_fault.h"

/* Return the first word of a page, which differs from page to page. */
uint32_t page_word(uint64_t page)
{
	uint32_t x = page * 2654435761U + 0x9e3779b9U;

	return x ^ x >> 15;
}

static int map_fixed(struct memory *mem, int flags, int fd)
{
	void *p = mmap(mem->hva, mem->size, PROT_READ | PROT_WRITE,
		       MAP_FIXED | flags, fd, 0);

	return p == MAP_FAILED ? -1 : 0;
}

static void fill(struct memory *mem)
{
	if (mem->fresh)
		return;
	for (uint64_t off = 0; off < mem->size; off += SZ_4K)
		*(uint32_t *)(mem->hva + off) = page_word(off / SZ_4K);
}

static int map_anon(struct memory *mem)
{
	if (map_fixed(mem, MAP_PRIVATE | MAP_ANONYMOUS, -1)) {
		warn("cannot map anonymous memory");
		return -1;
	}
	/* This fails only without CONFIG_TRANSPARENT_HUGEPAGE, when all pages are 4K. */
	madvise(mem->hva, mem->size, MADV_NOHUGEPAGE);
	fill(mem);
	return 0;
}

static int map_thp(struct memory *mem)
{
	if (map_fixed(mem, MAP_PRIVATE | MAP_ANONYMOUS, -1)) {
		warn("cannot map anonymous memory");
		return -1;
	}
	if (madvise(mem->hva, mem->size, MADV_HUGEPAGE)) {
		warn("MADV_HUGEPAGE (has the kernel transparent huge pages?)");
		return -1;
	}
	fill(mem);
	return 0;
}

static int map_memfd(struct memory *mem)
{
	int fd = memfd_create("guest-memory", MFD_CLOEXEC);
	int ret = -1;

	if (fd < 0) {
		warn("memfd_create");
		return -1;
	}
	if (ftruncate(fd, mem->size)) {
		warn("cannot size a memfd");
		goto out;
	}
	/* Allocate now: a lack of memory would raise SIGBUS in fill(). */
	if (fallocate(fd, 0, 0, mem->size)) {
		warn("cannot allocate a memfd");
		goto out;
	}
	ret = map_fixed(mem, MAP_SHARED, fd);
	if (ret)
		warn("cannot map a memfd");
	else
		fill(mem);
out:
	close(fd);
	return ret;
}

static int write_pages(int fd, uint64_t size)
{
	uint32_t page[SZ_4K / sizeof(uint32_t)] = { 0 };

	for (uint64_t off = 0; off < size; off += SZ_4K) {
		ssize_t ret;

		page[0] = page_word(off / SZ_4K);
		ret = pwrite(fd, page, sizeof(page), off);
		if (ret != sizeof(page)) {
			if (ret >= 0)
				errno = ENOSPC;
			return -1;
		}
	}
	return 0;
}

static int map_file(struct memory *mem)
{
	const char *dir = getenv("TMPDIR");
	char *path;
	int fd, ret = -1;

	if (!dir || !*dir)
		dir = "/tmp";
	if (asprintf(&path, "%s/pre_fault.XXXXXX", dir) < 0) {
		warn("asprintf");
		return -1;
	}

	fd = mkstemp(path);
	if (fd < 0) {
		warn("cannot make a temporary file %s", path);
		goto out_free;
	}
	unlink(path);

	if (write_pages(fd, mem->size)) {
		warn("cannot fill a temporary file in %s", dir);
		goto out_close;
	}
	if (map_fixed(mem, MAP_PRIVATE, fd)) {
		warn("cannot map a temporary file in %s", dir);
		goto out_close;
	}
	/* Only read: a write would replace the file's page with a copy. */
	for (uint64_t off = 0; off < mem->size; off += SZ_4K) {
		if (*(uint32_t *)(mem->hva + off) != page_word(off / SZ_4K)) {
			warnx("the temporary file does not hold what was written");
			goto out_close;
		}
	}
	ret = 0;

out_close:
	close(fd);
out_free:
	free(path);
	return ret;
}

static int map_hugetlb(struct memory *mem)
{
	if (map_fixed(mem, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
		      MAP_HUGE_2MB, -1)) {
		warn("cannot map hugetlb memory");
		if (errno == ENOMEM)
			warnx("%llu free 2M pages are needed: see /proc/sys/vm/nr_hugepages",
			      (unsigned long long)(mem->size / SZ_2M));
		return -1;
	}
	fill(mem);
	return 0;
}

const struct backing backings[] = {
	{
		.name = "anon",
		.what = "anonymous memory, 4K pages",
		.unit = SZ_4K,
		.by_default = true,
		.map = map_anon,
	}, {
		.name = "thp",
		.what = "anonymous memory, transparent huge pages",
		.unit = SZ_2M,
		.by_default = true,
		.map = map_thp,
	}, {
		.name = "memfd",
		.what = "shared memory of a memfd",
		.unit = SZ_4K,
		.by_default = true,
		.map = map_memfd,
	}, {
		.name = "file",
		.what = "private mapping of a file in $TMPDIR or /tmp",
		.unit = SZ_4K,
		.by_default = true,
		.private_file = true,
		.map = map_file,
	}, {
		.name = "hugetlb",
		.what = "2M pages of the hugetlb pool",
		.unit = SZ_2M,
		.own_pool = true,
		.map = map_hugetlb,
	},
};

const unsigned int nr_backings = ARRAY_SIZE(backings);

const struct backing *backing_find(const char *name)
{
	for (unsigned int i = 0; i < nr_backings; i++) {
		if (!strcmp(backings[i].name, name))
			return &backings[i];
	}
	return NULL;
}

/* Return the value of the first line "NAME: N kB" after the line @from, or -1. */
static int64_t proc_kb(const char *path, const char *from, const char *name)
{
	bool inside = !from, done = false;
	FILE *file = fopen(path, "re");
	int64_t kb = -1;
	char line[512];

	if (!file)
		return -1;
	while (!done && fgets(line, sizeof(line), file)) {
		if (!inside)
			inside = !strncmp(line, from, strlen(from));
		else if (!strncmp(line, name, strlen(name)))
			done = sscanf(line + strlen(name), ": %ld kB", &kb) == 1;
	}
	fclose(file);
	return kb;
}

/* Return how many pages of a private file mapping are copies, or -1. */
long memory_copied_pages(const struct memory *mem)
{
	char from[32];
	int64_t kb;

	snprintf(from, sizeof(from), "%lx-", (unsigned long)mem->hva);
	kb = proc_kb("/proc/self/smaps", from, "Anonymous");
	return kb < 0 ? -1 : kb / 4;
}

/* Reserve address space, 2M-aligned like the guest's addresses. */
int memory_reserve(struct memory *mem, uint64_t size)
{
	mem->size = size;
	mem->reserved_size = size + SZ_2M;
	mem->reserved = mmap(NULL, mem->reserved_size, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			     0);
	if (mem->reserved == MAP_FAILED) {
		warn("cannot reserve address space");
		return -1;
	}
	mem->hva = (void *)(((uintptr_t)mem->reserved + SZ_2M - 1) &
			    ~(uintptr_t)(SZ_2M - 1));
	return 0;
}

int memory_create(struct memory *mem, const struct backing *backing,
		  uint64_t size)
{
	int64_t free_kb = proc_kb("/proc/meminfo", NULL, "MemAvailable");
	long page_size = sysconf(_SC_PAGESIZE);

	if (page_size != SZ_4K) {
		warnx("the host's page size is %ldK, not 4K",
		      page_size >> 10);
		return -1;
	}
	/* Fail now rather than by the OOM killer. */
	if (!backing->own_pool && free_kb >= 0 &&
	    (uint64_t)free_kb * 1024 < size) {
		warnx("%s: not enough memory: %lluM asked for, %lluM available",
		      backing->name, (unsigned long long)(size >> 20),
		      (unsigned long long)(free_kb >> 10));
		return -1;
	}

	if (memory_reserve(mem, size))
		return -1;
	if (backing->map(mem)) {
		memory_destroy(mem);
		return -1;
	}
	return 0;
}

void memory_destroy(struct memory *mem)
{
	munmap(mem->reserved, mem->reserved_size);
}
