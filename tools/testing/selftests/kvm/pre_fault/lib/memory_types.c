// SPDX-License-Identifier: GPL-2.0-only
/*
 * The types of host memory, which differ in the way or in the cost of mapping them.
 * The tests, the fuzzer and the benchmark share this table.
 */
#define _GNU_SOURCE
#include <linux/mman.h>

#include "../pre_fault.h"

/* The most memory to use for a range of any size */
#define MAX_ALIASED_BYTES	SZ_1G
/* Unmapping many mappings takes the host long: do not use a smaller file. */
#define SMALL_FILE_BYTES	(256ul << 20)

static void populate(void *mem, size_t size)
{
	TEST_ASSERT(!madvise(mem, size, MADV_POPULATE_READ),
		    "MADV_POPULATE_READ");
}

void *pf_map_memory(enum pf_memory memory, void *at, size_t size, int fd,
		    size_t offset)
{
	const struct pf_memory_type *type = &pf_memory_types[memory];
	int flags = type->map | (fd < 0 ? MAP_ANONYMOUS : 0);
	void *mem;

	if (at)
		mem = mmap(at, size, PROT_READ | PROT_WRITE, flags | MAP_FIXED,
			   fd, offset);
	else
		mem = pf_mmap(size, PROT_READ | PROT_WRITE, flags, fd);
	TEST_ASSERT(mem != MAP_FAILED, "mmap() of %#lx bytes of %s: errno %d",
		    size, type->name, errno);
	madvise(mem, size, type->advice);
	return mem;
}

/* The mapping has to be the only user of the file. */
static void *map_and_close(enum pf_memory memory, size_t size, int fd)
{
	void *mem = pf_map_memory(memory, NULL, size, fd, 0);

	close(fd);
	return mem;
}

static void *filled(void *mem, size_t size, uint64_t seed)
{
	pf_fill(mem, TEST_GPA, size, seed);
	return mem;
}

/* Fill the page cache, and leave no mapping. */
static void fill_file(int fd, size_t size, uint64_t seed)
{
	void *mem = pf_map_memory(PF_MEMFD, NULL, size, fd, 0);

	pf_fill(mem, TEST_GPA, size, seed);
	munmap(mem, size);
}

static int filled_memfd(size_t size, uint64_t seed)
{
	int fd = pf_memfd(size);

	fill_file(fd, size, seed);
	return fd;
}

static void *make_anon_new(size_t size, uint64_t seed)
{
	return pf_map_memory(PF_ANON_NEW, NULL, size, -1, 0);
}

static void *make_anon(size_t size, uint64_t seed)
{
	return filled(pf_map_memory(PF_ANON, NULL, size, -1, 0), size, seed);
}

static void *make_anon_shared(size_t size, uint64_t seed)
{
	return filled(pf_map_memory(PF_ANON_SHARED, NULL, size, -1, 0), size,
		      seed);
}

static void *make_mlocked(size_t size, uint64_t seed)
{
	void *mem = make_anon(size, seed);

	TEST_ASSERT(!mlock(mem, size), "mlock()");
	TEST_ASSERT(!madvise(mem, size, MADV_DONTDUMP), "madvise()");
	return mem;
}

static void *make_mixed(size_t size, uint64_t seed)
{
	void *mem = make_anon_new(size, seed);
	size_t offset;

	for (offset = 0; offset < size; offset += 2 * PAGE_SIZE)
		WRITE_ONCE(*(uint64_t *)(mem + offset), offset);
	populate(mem, size);
	return mem;
}

static void *make_memfd(size_t size, uint64_t seed)
{
	return filled(map_and_close(PF_MEMFD, size, pf_memfd(size)), size, seed);
}

static void *make_memfd_new(size_t size, uint64_t seed)
{
	return map_and_close(PF_MEMFD_NEW, size, filled_memfd(size, seed));
}

static void *make_memfd_private(size_t size, uint64_t seed)
{
	return map_and_close(PF_MEMFD_PRIVATE, size, filled_memfd(size, seed));
}

static void *make_file_new(size_t size, uint64_t seed)
{
	int fd = pf_tmpfile(size);

	fill_file(fd, size, seed);
	return map_and_close(PF_FILE_NEW, size, fd);
}

static void *make_file(size_t size, uint64_t seed)
{
	void *mem = make_file_new(size, seed);

	populate(mem, size);
	return mem;
}

static void *make_thp(size_t size, uint64_t seed)
{
	void *mem = pf_map_memory(PF_THP, NULL, size, -1, 0);

	pf_fill(mem, TEST_GPA, size, seed);
	if (pf_smaps(mem, size, "AnonHugePages") * 1024 < size)
		pf_skip("no transparent huge pages available");
	return mem;
}

static void *make_thp_new(size_t size, uint64_t seed)
{
	return pf_map_memory(PF_THP_NEW, NULL, size, -1, 0);
}

static void *make_thp_shifted(size_t size, uint64_t seed)
{
	return make_thp(size + SZ_2M, seed) + PAGE_SIZE;
}

static void *make_hugetlb(size_t size, size_t page_size, uint64_t seed)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
		    (page_size == SZ_1G ? MAP_HUGE_1GB : MAP_HUGE_2MB);
	char path[96], value[24];
	long nr;
	void *mem;

	mem = pf_mmap(size, PROT_READ | PROT_WRITE, flags, -1);
	if (mem != MAP_FAILED)
		return filled(mem, size, seed);

	snprintf(path, sizeof(path),
		 "/sys/kernel/mm/hugepages/hugepages-%lukB/nr_hugepages",
		 page_size >> 10);
	nr = pf_read_long(path);
	if (nr < 0)
		pf_skip("no huge pages of %lu kB", page_size >> 10);

	/* Do not restore the number: the pages are not free before the test ends. */
	snprintf(value, sizeof(value), "%ld", nr + (long)(size / page_size));
	pf_write_str(path, value);

	mem = pf_mmap(size, PROT_READ | PROT_WRITE, flags, -1);
	if (mem == MAP_FAILED)
		pf_skip("can't reserve %lu huge pages of %lu kB",
			size / page_size, page_size >> 10);
	return filled(mem, size, seed);
}

static void *make_hugetlb_2m(size_t size, uint64_t seed)
{
	return make_hugetlb(size, SZ_2M, seed);
}

static void *make_hugetlb_1g(size_t size, uint64_t seed)
{
	return make_hugetlb(size, SZ_1G, seed);
}

/* Map a file that is shorter than the memory repeatedly. */
static void *map_alias(int fd, size_t part, size_t size)
{
	void *mem = make_anon_new(size, 0);
	size_t offset;

	for (offset = 0; offset < size; offset += part)
		pf_map_memory(PF_MEMFD, mem + offset, min(part, size - offset), fd,
			      0);
	return mem;
}

static void *make_alias(size_t size, uint64_t seed)
{
	size_t part = min_t(size_t, size, MAX_ALIASED_BYTES);
	int fd = filled_memfd(part, seed);
	void *mem = map_alias(fd, part, size);

	close(fd);
	populate(mem, size);
	return mem;
}

/* Create the file once, so that it survives the end of a child process. */
static void *make_small_file(size_t size, uint64_t seed)
{
	static int fd = -1;

	if (fd < 0)
		fd = filled_memfd(SMALL_FILE_BYTES, seed);
	return map_alias(fd, SMALL_FILE_BYTES, size);
}

const struct pf_memory_type pf_memory_types[NR_PF_MEMORY] = {
	[PF_ANON] = {
		.name = "anon",
		.help = "anonymous, populated",
		.make = make_anon,
		.map = MAP_PRIVATE,
		.advice = MADV_NOHUGEPAGE,
		.writable = true,
		.measured = true,
	},
	[PF_MEMFD] = {
		.name = "memfd",
		.help = "shared memfd, populated",
		.make = make_memfd,
		.map = MAP_SHARED,
		.advice = MADV_NOHUGEPAGE,
		.writable = true,
		.measured = true,
	},
	[PF_FILE] = {
		.name = "file",
		.help = "private file, mapped",
		.make = make_file,
		.map = MAP_PRIVATE,
		.advice = MADV_NOHUGEPAGE,
		.measured = true,
	},
	[PF_ANON_NEW] = {
		.name = "anon-new",
		.help = "anonymous, never touched",
		.make = make_anon_new,
		.map = MAP_PRIVATE | MAP_NORESERVE,
		.advice = MADV_NOHUGEPAGE,
		.zeros = true,
		.measured = true,
	},
	[PF_MEMFD_NEW] = {
		.name = "memfd-new",
		.help = "shared memfd in the page cache, not mapped by the VMM",
		.make = make_memfd_new,
		.map = MAP_SHARED,
		.advice = MADV_NOHUGEPAGE,
		.writable = true,
		.measured = true,
	},
	[PF_FILE_NEW] = {
		.name = "file-new",
		.help = "private file in the page cache, not mapped by the VMM",
		.make = make_file_new,
		.map = MAP_PRIVATE,
		.advice = MADV_NOHUGEPAGE,
		.measured = true,
	},
	[PF_MIXED] = {
		.name = "mixed",
		.help = "alternating private pages and the zero page",
		.make = make_mixed,
		.measured = true,
	},
	[PF_THP_SHIFTED] = {
		.name = "thp-shifted",
		.help = "THP, hva and gpa not congruent to 2M",
		.make = make_thp_shifted,
		.writable = true,
		.measured = true,
	},
	[PF_DIRTY_LOG] = {
		.name = "dirty-log",
		.help = "anonymous, populated, with dirty logging",
		.make = make_anon,
		.slot_flags = KVM_MEM_LOG_DIRTY_PAGES,
		.measured = true,
	},
	[PF_ALREADY_MAPPED] = {
		.name = "already-mapped",
		.help = "anonymous, populated, pre-faulted already",
		.make = make_anon,
		.writable = true,
		.already_mapped = true,
		.measured = true,
	},
	[PF_THP] = {
		.name = "thp",
		.help = "transparent huge pages",
		.make = make_thp,
		.map = MAP_PRIVATE,
		.advice = MADV_HUGEPAGE,
		.writable = true,
		.measured = true,
	},
	[PF_HUGETLB_2M] = {
		.name = "hugetlb",
		.help = "hugetlb, 2M",
		.make = make_hugetlb_2m,
		.writable = true,
		.measured = true,
	},
	[PF_HUGETLB_1G] = {
		.name = "hugetlb-1g",
		.help = "hugetlb, 1G",
		.make = make_hugetlb_1g,
		.writable = true,
	},
	[PF_THP_NEW] = {
		.name = "thp-new",
		.help = "anonymous, never touched, a read maps the huge zero page",
		.make = make_thp_new,
		.map = MAP_PRIVATE | MAP_NORESERVE,
		.advice = MADV_HUGEPAGE,
		.zeros = true,
	},
	[PF_ANON_SHARED] = {
		.name = "anon-shared",
		.help = "shared anonymous, populated",
		.make = make_anon_shared,
		.map = MAP_SHARED,
		.advice = MADV_NOHUGEPAGE,
		.writable = true,
	},
	[PF_MEMFD_PRIVATE] = {
		.name = "memfd-private",
		.help = "private memfd in the page cache, not mapped by the VMM",
		.make = make_memfd_private,
		.map = MAP_PRIVATE,
		.advice = MADV_NOHUGEPAGE,
	},
	[PF_MLOCKED] = {
		.name = "mlocked",
		.help = "anonymous, mlocked",
		.make = make_mlocked,
		.writable = true,
	},
	[PF_SMALL_FILE] = {
		.name = "small-file",
		.help = "256M of a memfd, mapped repeatedly, not populated",
		.make = make_small_file,
		.writable = true,
	},
	[PF_ALIAS] = {
		.name = "alias",
		.help = "at most 1G of a memfd, mapped repeatedly",
		.make = make_alias,
		.writable = true,
	},
};
