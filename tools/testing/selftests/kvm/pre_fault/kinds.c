// SPDX-License-Identifier: GPL-2.0-only
/*
 * Host memory for the benchmark of KVM_PRE_FAULT_MEMORY, of each kind that is
 * mapped at a cost of its own.
 */
#define _GNU_SOURCE
#include "pre_fault.h"

/* As much memory as there is behind a range of any size */
#define MAX_ALIASED_BYTES	SZ_1G

static void populate(void *mem, size_t size)
{
	TEST_ASSERT(!madvise(mem, size, MADV_POPULATE_READ),
		    "MADV_POPULATE_READ");
}

/* A memfd with all of its pages in the page cache, but mapped nowhere */
static int filled_memfd(size_t size)
{
	int fd = memfd_create("pre_fault", MFD_CLOEXEC);
	void *mem;

	TEST_ASSERT(fd >= 0 && !ftruncate(fd, size), "memfd_create()");
	mem = pf_mmap_4k(size, MAP_SHARED, fd);
	pf_fill(mem, TEST_GPA, size, 1);
	munmap(mem, size);
	return fd;
}

static void *mem_anon(size_t size)
{
	return pf_mem(PF_ANON, size, 1);
}

static void *mem_memfd(size_t size)
{
	return pf_mem(PF_MEMFD, size, 1);
}

static void *mem_file_new(size_t size)
{
	return pf_mem(PF_FILE, size, 1);
}

static void *mem_file(size_t size)
{
	void *mem = mem_file_new(size);

	populate(mem, size);
	return mem;
}

static void *mem_memfd_new(size_t size)
{
	int fd = filled_memfd(size);
	void *mem = pf_mmap_4k(size, MAP_SHARED, fd);

	close(fd);
	return mem;
}

static void *mem_mixed(size_t size)
{
	void *mem = pf_untouched(size);
	size_t offset;

	for (offset = 0; offset < size; offset += 2 * PAGE_SIZE)
		WRITE_ONCE(*(uint64_t *)(mem + offset), offset);
	populate(mem, size);
	return mem;
}

static void *mem_thp(size_t size)
{
	return pf_mem(PF_THP, size, 1);
}

static void *mem_thp_shifted(size_t size)
{
	return mem_thp(size + SZ_2M) + PAGE_SIZE;
}

static void *mem_hugetlb(size_t size)
{
	return pf_mem(PF_HUGETLB_2M, size, 1);
}

static void *mem_alias(size_t size)
{
	size_t part = min_t(size_t, size, MAX_ALIASED_BYTES), offset;
	void *mem = pf_untouched(size);
	int fd = filled_memfd(part);

	for (offset = 0; offset < size; offset += part) {
		part = min(part, size - offset);
		TEST_ASSERT(mmap(mem + offset, part, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED,
			    "mmap() of an alias");
	}
	close(fd);
	madvise(mem, size, MADV_NOHUGEPAGE);
	populate(mem, size);
	return mem;
}

const struct pf_kind pf_kinds[] = {
	{ "anon", "anonymous, populated", mem_anon, .writable = true },
	{ "memfd", "shared memfd, populated", mem_memfd, .writable = true },
	{ "file", "private file, mapped", mem_file },
	{ "anon-new", "anonymous, never touched", pf_untouched },
	{ "memfd-new", "shared memfd in the page cache, not mapped by the VMM",
	  mem_memfd_new, .writable = true },
	{ "file-new", "private file in the page cache, not mapped by the VMM",
	  mem_file_new },
	{ "mixed", "alternating private pages and the zero page", mem_mixed },
	{ "thp-shifted", "THP, hva and gpa not congruent to 2M",
	  mem_thp_shifted, .writable = true },
	{ "dirty-log", "anonymous, populated, with dirty logging", mem_anon,
	  .slot_flags = KVM_MEM_LOG_DIRTY_PAGES },
	{ "again", "anonymous, populated, pre-faulted already", mem_anon,
	  .writable = true, .again = true },
	{ "thp", "transparent huge pages", mem_thp, .writable = true },
	{ "hugetlb", "hugetlb, 2M", mem_hugetlb, .writable = true },
	{ "alias", "1G of a memfd at most, mapped again and again", mem_alias,
	  .writable = true },
};

const unsigned int pf_nr_kinds = ARRAY_SIZE(pf_kinds);
