// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memory of the host behind a memslot: mappings, contents, page tables.
 */
#define _GNU_SOURCE
#include "../pre_fault.h"

void *pf_mmap(size_t size, int prot, int flags, int fd)
{
	size_t align = size % SZ_1G ? SZ_2M : SZ_1G;
	size_t all = size + align + 2 * PAGE_SIZE;
	void *mem;

	mem = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		   -1, 0);
	TEST_ASSERT(mem != MAP_FAILED, "mmap() of %#lx bytes", all);

	/* Leave at least a page before and behind: the VMA must not be merged. */
	mem = align_ptr_up(mem + PAGE_SIZE, align);
	if (mmap(mem, size, prot, flags | MAP_FIXED, fd, 0) == MAP_FAILED)
		return MAP_FAILED;

	return mem;
}

void pf_fill(void *hva, uint64_t gpa, size_t size, uint64_t seed)
{
	size_t offset;

	for (offset = 0; offset < size; offset += PAGE_SIZE) {
		uint64_t *page = hva + offset;

		page[0] = pf_pattern(gpa + offset, seed);
		page[PF_CODE / sizeof(*page)] = pf_return_insn;
		page[511] = ~page[0];
	}
}

bool pf_page_is(const void *page, uint64_t gpa, uint8_t seed)
{
	uint64_t first = READ_ONCE(((const uint64_t *)page)[0]);
	uint64_t last = READ_ONCE(((const uint64_t *)page)[511]);

	if (seed == PF_ZEROS)
		return !first && !last;
	return first == pf_pattern(gpa, seed) && last == ~first;
}

int pf_memfd(size_t size)
{
	int fd = memfd_create("pre_fault", MFD_CLOEXEC);

	TEST_ASSERT(fd >= 0 && !ftruncate(fd, size), "memfd_create()");
	return fd;
}

int pf_tmpfile(size_t size)
{
	static const char * const dirs[] = { "/tmp", "/var/tmp", "/", "." };
	char path[64];
	unsigned int i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof(path), "%s/pre_fault_XXXXXX", dirs[i]);
		fd = mkstemp(path);
		if (fd < 0)
			continue;
		unlink(path);
		TEST_ASSERT(!ftruncate(fd, size), "ftruncate()");
		return fd;
	}

	pf_skip("no directory for a temporary file");
}

uint64_t pf_smaps(void *hva, size_t size, const char *field)
{
	unsigned long start, end, value, begin = (unsigned long)hva;
	char line[512], name[64];
	bool inside = false;
	uint64_t sum = 0;
	FILE *f;

	f = fopen("/proc/self/smaps", "r");
	TEST_ASSERT(f, "/proc/self/smaps");

	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = start < begin + size && end > begin;
		else if (inside &&
			 sscanf(line, "%63[^:]: %lu kB", name, &value) == 2 &&
			 !strcmp(name, field))
			sum += value;
	}

	fclose(f);
	return sum;
}

uint64_t pf_pagemap(void *hva)
{
	uint64_t entry;
	int fd;

	fd = open("/proc/self/pagemap", O_RDONLY);
	TEST_ASSERT(fd >= 0, "/proc/self/pagemap");
	TEST_ASSERT(pread(fd, &entry, sizeof(entry),
			  (unsigned long)hva / PAGE_SIZE * sizeof(entry)) ==
		    sizeof(entry), "read of /proc/self/pagemap");
	close(fd);
	return entry;
}
