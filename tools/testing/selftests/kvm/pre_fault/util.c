// SPDX-License-Identifier: GPL-2.0-only
/*
 * Host side of the KVM_PRE_FAULT_MEMORY tests: memory, statistics, calls.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <time.h>
#include <linux/mman.h>
#include <sys/syscall.h>

#include "pre_fault.h"

static const struct {
	const char *name;
	size_t offset;
} vcpu_stats[] = {
	{ "pf_taken", offsetof(struct pf_stats, taken) },
	{ "pf_fixed", offsetof(struct pf_stats, fixed) },
	{ "pf_emulate", offsetof(struct pf_stats, emulate) },
	{ "pf_spurious", offsetof(struct pf_stats, spurious) },
	{ "pf_fast", offsetof(struct pf_stats, fast) },
	{ "pf_mmio_spte_created", offsetof(struct pf_stats, mmio_spte) },
};

struct stats_file {
	struct kvm_stats_header header;
	struct kvm_stats_desc *descs;
	int fd;
};

static void open_stats(struct stats_file *file, struct kvm_vcpu *vcpu)
{
	file->fd = vcpu_get_stats_fd(vcpu);
	read_stats_header(file->fd, &file->header);
	file->descs = read_stats_descriptors(file->fd, &file->header);
}

static void close_stats(struct stats_file *file)
{
	free(file->descs);
	close(file->fd);
}

static bool read_stat(struct stats_file *file, const char *name, uint64_t *value)
{
	struct kvm_stats_desc *desc;
	unsigned int i;

	for (i = 0; i < file->header.num_desc; i++) {
		desc = get_stats_descriptor(file->descs, i, &file->header);
		if (!strcmp(desc->name, name)) {
			read_stat_data(file->fd, &file->header, desc, value, 1);
			return true;
		}
	}
	return false;
}

bool pf_counts_prefaults;

uint64_t pf_nr_exits(struct kvm_vcpu *vcpu)
{
	struct stats_file file;
	uint64_t exits;

	open_stats(&file, vcpu);
	TEST_ASSERT(read_stat(&file, "exits", &exits),
		    "no vCPU statistic exits");
	close_stats(&file);
	return exits;
}

struct pf_stats pf_stats(struct kvm_vcpu *vcpu)
{
	struct pf_stats stats = {};
	struct stats_file file;
	unsigned int i;

	open_stats(&file, vcpu);
	for (i = 0; i < ARRAY_SIZE(vcpu_stats); i++) {
		uint64_t *value = (void *)&stats + vcpu_stats[i].offset;

		TEST_ASSERT(read_stat(&file, vcpu_stats[i].name, value) ||
			    pf_arch_stat(vcpu_stats[i].name, value),
			    "no vCPU statistic %s", vcpu_stats[i].name);
	}
	pf_counts_prefaults = read_stat(&file, "pf_prefaulted", &stats.prefaulted);
	close_stats(&file);

	if (pf_counts_mappings) {
		stats.pages_4k = vm_get_stat(vcpu->vm, pages_4k);
		stats.pages_2m = vm_get_stat(vcpu->vm, pages_2m);
		stats.pages_1g = vm_get_stat(vcpu->vm, pages_1g);
	}
	return stats;
}

struct pf_stats pf_stats_since(struct kvm_vcpu *vcpu,
			       const struct pf_stats *before)
{
	struct pf_stats stats = pf_stats(vcpu);
	const uint64_t *old = (const uint64_t *)before;
	uint64_t *new = (uint64_t *)&stats;
	unsigned int i;

	for (i = 0; i < sizeof(stats) / sizeof(*new); i++)
		new[i] -= old[i];

	return stats;
}

bool pf_prefaulted(const struct pf_stats *since, uint64_t nr)
{
	return !pf_counts_prefaults || since->prefaulted == nr;
}

/* Kernels without that statistic do not count pre-faults as fixed, either. */
bool pf_fixed(const struct pf_stats *since, uint64_t nr)
{
	return !pf_counts_mappings || !pf_counts_prefaults || since->fixed == nr;
}

bool pf_mapped(const struct pf_stats *since, uint64_t nr_4k, uint64_t nr_2m)
{
	return !pf_counts_mappings ||
	       (since->pages_4k == nr_4k && since->pages_2m == nr_2m &&
		!since->pages_1g);
}

uint64_t pf_mapped_by_guest(const struct pf_stats *since)
{
	return pf_counts_mappings ? since->pages_4k : since->taken;
}

bool pf_mapped_huge(const struct pf_stats *since, uint64_t npages)
{
	return pf_counts_mappings ? since->pages_2m : since->taken < npages;
}

int pf_call(struct kvm_vcpu *vcpu, struct kvm_pre_fault_memory *range)
{
	int ret = __vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, range);

	TEST_ASSERT(!ret || ret == -1, "KVM_PRE_FAULT_MEMORY returned %d", ret);
	return ret ? errno : 0;
}

void __pf_expect(struct kvm_vcpu *vcpu, uint64_t gpa, uint64_t size, int err,
		 uint64_t done, const char *file, int line)
{
	/* The padding is ignored. */
	struct kvm_pre_fault_memory range = {
		.gpa = gpa,
		.size = size,
		.padding = { 1, 2, 3, 4, -5ull },
	}, want = range;
	int ret = pf_call(vcpu, &range);

	want.gpa += done;
	want.size -= done;

	test_assert(ret == err, "errno of KVM_PRE_FAULT_MEMORY", file, line,
		    "gpa %#lx, size %#lx: got errno %d (%s), expected %d (%s), with %#lx done",
		    gpa, size, ret, strerror(ret), err, strerror(err),
		    (uint64_t)range.gpa - gpa);
	test_assert(range.gpa == want.gpa && range.size == want.size,
		    "progress of KVM_PRE_FAULT_MEMORY", file, line,
		    "gpa %#lx, size %#lx: got gpa %#llx, size %#llx, expected %#lx done",
		    gpa, size, range.gpa, range.size, done);
	test_assert(!memcmp(&range, &want, sizeof(range)),
		    "the rest of struct kvm_pre_fault_memory is as it was",
		    file, line, "gpa %#lx, size %#lx", gpa, size);
}

void __pf_expect_pages(struct kvm_vcpu *vcpu, uint64_t gpa, uint64_t size,
		       int err, uint64_t done, uint64_t pages,
		       const char *file, int line)
{
	struct pf_stats before = pf_stats(vcpu), d;

	__pf_expect(vcpu, gpa, size, err, done, file, line);
	d = pf_stats_since(vcpu, &before);
	test_assert(pf_mapped(&d, pages, 0),
		    "only what was asked for is mapped", file, line,
		    "gpa %#lx, size %#lx: mapped %ld/%ld/%ld pages of 4K/2M/1G, expected %lu of 4K",
		    gpa, size, (long)d.pages_4k, (long)d.pages_2m,
		    (long)d.pages_1g, pages);
	test_assert(pf_prefaulted(&d, pages) &&
		    pf_fixed(&d, pages),
		    "each page is counted once", file, line,
		    "gpa %#lx, size %#lx: %lu pages mapped, pf_prefaulted %lu, pf_fixed %lu",
		    gpa, size, pages, d.prefaulted, d.fixed);
}

void *pf_mmap(size_t size, int prot, int flags, int fd)
{
	size_t align = size % SZ_1G ? SZ_2M : SZ_1G;
	size_t all = size + align + 2 * PAGE_SIZE;
	void *mem;

	mem = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		   -1, 0);
	TEST_ASSERT(mem != MAP_FAILED, "mmap() of %#lx bytes", all);

	/* At least a page before and behind it keeps it a VMA of its own. */
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

void *pf_mmap_4k(size_t size, int flags, int fd)
{
	void *mem = pf_mmap(size, PROT_READ | PROT_WRITE, flags, fd);

	TEST_ASSERT(mem != MAP_FAILED, "mmap() of %#lx bytes", size);
	madvise(mem, size, MADV_NOHUGEPAGE);
	return mem;
}

void *pf_untouched(size_t size)
{
	return pf_mmap_4k(size, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static void *mem_hugetlb(size_t size, size_t page_size)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
		    (page_size == SZ_1G ? MAP_HUGE_1GB : MAP_HUGE_2MB);
	char path[96], value[24];
	long nr;
	void *mem;

	mem = pf_mmap(size, PROT_READ | PROT_WRITE, flags, -1);
	if (mem != MAP_FAILED)
		return mem;

	snprintf(path, sizeof(path),
		 "/sys/kernel/mm/hugepages/hugepages-%lukB/nr_hugepages",
		 page_size >> 10);
	nr = pf_read_long(path);
	if (nr < 0)
		pf_skip("no huge pages of %lu kB", page_size >> 10);

	/* They stay: to be given back they would have to be free by then. */
	snprintf(value, sizeof(value), "%ld", nr + (long)(size / page_size));
	pf_write_str(path, value);

	mem = pf_mmap(size, PROT_READ | PROT_WRITE, flags, -1);
	if (mem == MAP_FAILED)
		pf_skip("can't reserve %lu huge pages of %lu kB",
			size / page_size, page_size >> 10);
	return mem;
}

void *pf_mem(enum pf_backing backing, size_t size, uint64_t seed)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS, fd = -1;
	void *mem;

	switch (backing) {
	case PF_HUGETLB_2M:
		mem = mem_hugetlb(size, SZ_2M);
		break;
	case PF_HUGETLB_1G:
		mem = mem_hugetlb(size, SZ_1G);
		break;
	case PF_MEMFD:
		fd = memfd_create("pre_fault", MFD_CLOEXEC);
		TEST_ASSERT(fd >= 0 && !ftruncate(fd, size), "memfd_create()");
		flags = MAP_SHARED;
		mem = pf_mmap(size, PROT_READ | PROT_WRITE, flags, fd);
		break;
	case PF_FILE:
		/* Fill the page cache, so that there is no private copy. */
		fd = pf_tmpfile(size);
		mem = mmap(NULL, size, PROT_WRITE, MAP_SHARED, fd, 0);
		TEST_ASSERT(mem != MAP_FAILED, "mmap()");
		pf_fill(mem, TEST_GPA, size, seed);
		munmap(mem, size);
		flags = MAP_PRIVATE;
		mem = pf_mmap(size, PROT_READ | PROT_WRITE, flags, fd);
		break;
	default:
		mem = pf_mmap(size, PROT_READ | PROT_WRITE, flags, fd);
		break;
	}

	TEST_ASSERT(mem != MAP_FAILED, "mmap() of %#lx bytes", size);
	if (fd >= 0)
		close(fd);

	if (backing == PF_THP)
		madvise(mem, size, MADV_HUGEPAGE);
	else
		madvise(mem, size, MADV_NOHUGEPAGE);

	if (backing != PF_FILE)
		pf_fill(mem, TEST_GPA, size, seed);

	if (backing == PF_THP && pf_smaps(mem, size, "AnonHugePages") * 1024 < size)
		pf_skip("no transparent huge pages to be had");

	return mem;
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

long pf_read_long(const char *path)
{
	long value;
	FILE *f;
	int n;

	f = fopen(path, "r");
	if (!f)
		return -1;
	n = fscanf(f, "%ld", &value);
	fclose(f);
	return n == 1 ? value : -1;
}

int pf_write_str(const char *path, const char *value)
{
	ssize_t n, len = strlen(value);
	int fd;

	fd = open(path, O_WRONLY | O_TRUNC);
	if (fd < 0)
		return -1;
	n = write(fd, value, len);
	close(fd);
	return n == len ? 0 : -1;
}

pthread_t pf_thread(void *(*fn)(void *), void *arg)
{
	pthread_t thread;

	TEST_ASSERT(!pthread_create(&thread, NULL, fn, arg), "pthread_create()");
	return thread;
}

void pf_join(pthread_t thread)
{
	TEST_ASSERT(!pthread_join(thread, NULL), "pthread_join()");
}

pid_t pf_gettid(void)
{
	return syscall(SYS_gettid);
}

static void on_signal(int sig)
{
}

void pf_catch(int sig)
{
	struct sigaction action = { .sa_handler = on_signal };

	TEST_ASSERT(!sigaction(sig, &action, NULL), "sigaction()");
}

double pf_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}
