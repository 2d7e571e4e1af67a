// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY of some pages of a page table, of memory that does not
 * begin where a page table does, and across all that can end in the middle of
 * one: memslots, mappings in the VMM, page tables of the host.
 */
#define _GNU_SOURCE
#include <linux/mman.h>

#include "pre_fault.h"

#define NR_PAGES	1536
#define SIZE		(NR_PAGES * PAGE_SIZE)
#define BYTES(pages)	((pages) * PAGE_SIZE)

static void renew_slot(struct kvm_vm *vm, void *mem)
{
	vm_set_user_memory_region(vm, TEST_SLOT, 0, TEST_GPA, 0, NULL);
	vm_set_user_memory_region(vm, TEST_SLOT, 0, TEST_GPA, SIZE, mem);
}

/* The guest's read of a page, if there is such a page, has to fault. */
static uint64_t check_unmapped(struct kvm_vcpu *vcpu, int64_t page)
{
	struct pf_stats d;

	if (page < 0 || page >= NR_PAGES)
		return 0;

	d = pf_guest_stats(vcpu, PF_READ, TEST_GPA + BYTES(page), 1, 1);
	TEST_ASSERT(d.taken && pf_mapped_by_guest(&d),
		    "page %ld was mapped, too", page);
	return pf_mapped_by_guest(&d);
}

static void batch_partial_ranges(void)
{
	static const struct {
		uint64_t first;
		uint64_t nr;
	} ranges[] = {
		{ 0, 1 }, { 1, 1 }, { 511, 1 }, { 512, 1 }, { 1535, 1 },
		{ 0, 511 }, { 1, 511 }, { 1, 510 }, { 512, 512 }, { 5, 7 },
		{ 511, 2 }, { 500, 24 }, { 511, 514 }, { 300, 512 }, { 3, 1200 },
	};
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, SIZE);
	uint64_t mapped, gpa, nr;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		nr = ranges[i].nr;
		gpa = TEST_GPA + BYTES(ranges[i].first);

		renew_slot(vcpu->vm, mem);
		pf_map_pages(vcpu, gpa, BYTES(nr), nr);
		pf_guest_no_fault(vcpu, PF_WRITE, gpa, nr, 1, nr);

		/*
		 * With the first the legacy MMU may map some pages around, and
		 * thereby the other one.
		 */
		mapped = check_unmapped(vcpu, ranges[i].first - 1);
		if (mapped < 2)
			mapped += check_unmapped(vcpu, ranges[i].first + nr);
		mapped += nr;

		pf_map_pages(vcpu, TEST_GPA, SIZE, NR_PAGES - mapped);
		pf_map_pages(vcpu, TEST_GPA, SIZE, 0);
		pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 1);
	}
}

/* One page in each three, then in each two, then all. */
static void batch_sieve(void)
{
	static const unsigned int steps[] = { 3, 2, 1 };
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, pf_mem(PF_ANON, SIZE, 1), SIZE);
	bool mapped[NR_PAGES] = {};
	unsigned int i, page;

	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		for (page = 0; page < 600; page += steps[i]) {
			pf_map_pages(vcpu, TEST_GPA + BYTES(page), PAGE_SIZE,
				     mapped[page] ? 0 : 1);
			mapped[page] = true;
		}
	}
	pf_map_pages(vcpu, TEST_GPA, SIZE, NR_PAGES - 600);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
}

/* The guest's write to a page in a read-only memslot goes to userspace. */
static void check_write_exits(struct kvm_vcpu *vcpu, uint64_t gpa)
{
	pf_guest_start(vcpu, PF_WRITE, gpa, 1, 9);
	TEST_ASSERT(pf_guest_mmio(vcpu), "exit reason %d",
		    vcpu->run->exit_reason);
	while (pf_guest_mmio(vcpu))
		vcpu_run(vcpu);
	pf_guest_finish(vcpu);
}

/*
 * Memslots that meet within page tables, and a hole: what lies behind in the
 * VMM's memory is another page each time.
 */
static void batch_slot_boundaries(void)
{
	static const struct {
		uint64_t first;
		uint64_t nr;
		uint64_t hva_page;
		uint32_t flags;
	} slots[] = {
		{ 0, 100, 700, 0 },
		{ 100, 200, 0, KVM_MEM_READONLY },
		{ 300, 300, 1000, 0 },
		{ 601, 400, 200, 0 },
	};
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	void *mem = pf_mem(PF_ANON, SIZE, 7);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(slots); i++) {
		uint64_t gpa = TEST_GPA + BYTES(slots[i].first);
		void *hva = mem + BYTES(slots[i].hva_page);

		pf_fill(hva, gpa, BYTES(slots[i].nr), 1);
		vm_set_user_memory_region(vcpu->vm, TEST_SLOT + i,
					  slots[i].flags, gpa,
					  BYTES(slots[i].nr), hva);
	}

	pf_expect_pages(vcpu, TEST_GPA, SIZE, 0, BYTES(600), 600);
	pf_expect_pages(vcpu, TEST_GPA + BYTES(600), SIZE, ENOENT, 0, 0);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, 600, 1, 600);
	pf_expect_pages(vcpu, TEST_GPA + BYTES(601), SIZE, 0, BYTES(400), 400);
	pf_expect_pages(vcpu, TEST_GPA + BYTES(1001), SIZE, ENOENT, 0, 0);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA + BYTES(601), 400, 1, 400);

	pf_guest_no_fault(vcpu, PF_WRITE, TEST_GPA, 100, 1, 100);
	pf_guest_no_fault(vcpu, PF_WRITE, TEST_GPA + BYTES(300), 300, 1,
			  300);
	check_write_exits(vcpu, TEST_GPA + BYTES(100));
	check_write_exits(vcpu, TEST_GPA + BYTES(299));
	pf_guest_check(vcpu, TEST_GPA, 600, 1);
}

static void unmap(void *page)
{
	TEST_ASSERT(!munmap(page, PAGE_SIZE), "munmap()");
}

static void forbid(void *page)
{
	TEST_ASSERT(!mprotect(page, PAGE_SIZE, PROT_NONE), "mprotect()");
}

static void replace(void *page)
{
	TEST_ASSERT(mmap(page, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			 MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page, "mmap()");
}

/* A page that can't be read stops the call right there, wherever it is. */
static void check_bad_pages(void (*spoil)(void *page))
{
	static const uint64_t bad[] = { 1, 5, 6, 255, 511, 512, 1023, 1025, 1535 };
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, SIZE);
	uint64_t gpa, size, nr, next = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		spoil(mem + BYTES(bad[i]));

	for (i = 0; i < ARRAY_SIZE(bad); i++, next++) {
		gpa = TEST_GPA + BYTES(next);
		size = SIZE - BYTES(next);
		nr = bad[i] - next;
		if (nr)
			pf_expect_pages(vcpu, gpa, size, 0, BYTES(nr), nr);
		pf_expect_pages(vcpu, gpa + BYTES(nr), size - BYTES(nr), EFAULT,
				0, 0);
		if (nr)
			pf_guest_no_fault(vcpu, PF_READ, gpa, nr, 1, nr);
		next = bad[i];
	}

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		replace(mem + BYTES(bad[i]));
	pf_fill(mem, TEST_GPA, SIZE, 2);
	pf_map(vcpu, TEST_GPA, SIZE);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 2);
}

static void batch_munmapped_pages(void)
{
	check_bad_pages(unmap);
}

static void batch_prot_none_pages(void)
{
	check_bad_pages(forbid);
}

/* Pages that only the VMM's mapping makes read-only */
static void batch_prot_read_pages(void)
{
	static const uint64_t first[] = { 0, 9, 511, 1000 };
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, SIZE);
	unsigned int i;
	uint64_t gpa;

	for (i = 0; i < ARRAY_SIZE(first); i++)
		TEST_ASSERT(!mprotect(mem + BYTES(first[i]), BYTES(2), PROT_READ),
			    "mprotect()");

	pf_map_pages(vcpu, TEST_GPA, SIZE, NR_PAGES);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);

	for (i = 0; i < ARRAY_SIZE(first); i++) {
		gpa = TEST_GPA + BYTES(first[i] + 1);
		pf_guest_no_fault(vcpu, PF_WRITE, gpa + PAGE_SIZE, 5, 1, 5);
		pf_guest_order(vcpu, PF_WRITE, gpa, 1, 3);
		TEST_ASSERT(__vcpu_run(vcpu) == -1 && errno == EFAULT,
			    "the guest could write page %lu", first[i] + 1);
		TEST_ASSERT(pf_page_is(mem + BYTES(first[i] + 1), gpa, 1),
			    "the guest did write page %lu", first[i] + 1);

		TEST_ASSERT(!mprotect(mem + BYTES(first[i]), BYTES(2),
				      PROT_READ | PROT_WRITE), "mprotect()");
		vcpu_run(vcpu);
		pf_guest_finish(vcpu);
		pf_guest_check(vcpu, gpa, 1, 3);
	}
}

/* Huge pages allocated one after the other may lie so in memory, too. */
static void shuffle(void *mem)
{
	static const unsigned int order[] = { 1, 0, 2 };
	unsigned int i;

	TEST_ASSERT(!madvise(mem, SIZE, MADV_DONTNEED), "madvise()");
	for (i = 0; i < ARRAY_SIZE(order); i++)
		pf_fill(mem + order[i] * SZ_2M, TEST_GPA, SZ_2M, 1);
	TEST_ASSERT(pf_smaps(mem, SIZE, "AnonHugePages") * 1024 == SIZE,
		    "no huge pages");
}

/*
 * The host's page tables, and its huge pages, end in the middle of the guest's
 * if gpa and hva are not congruent.
 */
static void check_incongruent(enum pf_backing backing)
{
	static const struct {
		uint64_t gpa_page;
		uint64_t hva_page;
	} shifts[] = {
		{ 0, 1 }, { 0, 511 }, { 3, 40 }, { 511, 0 }, { 256, 512 },
	};
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	void *mem = pf_mem(backing, SIZE, 1);
	uint64_t nr, gpa, unlike;
	unsigned int i;

	if (backing == PF_THP)
		shuffle(mem);

	for (i = 0; i < ARRAY_SIZE(shifts); i++) {
		gpa = TEST_GPA + BYTES(shifts[i].gpa_page);
		nr = NR_PAGES - shifts[i].hva_page;
		unlike = shifts[i].gpa_page - shifts[i].hva_page;

		pf_fill(mem + BYTES(shifts[i].hva_page), gpa, BYTES(nr), i);
		vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, gpa, BYTES(nr),
					  mem + BYTES(shifts[i].hva_page));
		TEST_ASSERT(unlike % 512, "gpa and hva are congruent");

		pf_map_pages(vcpu, gpa, BYTES(nr), nr);
		pf_guest_no_fault(vcpu, PF_READ, gpa, nr, i, nr);
		pf_guest_no_fault(vcpu, PF_WRITE, gpa, nr, i + 1, nr);
		pf_guest_check(vcpu, gpa, nr, i + 1);
		vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, gpa, 0, NULL);
	}
}

static void batch_incongruent_anon(void)
{
	check_incongruent(PF_ANON);
}

static void batch_incongruent_thp(void)
{
	check_incongruent(PF_THP);
}

static void batch_incongruent_hugetlb(void)
{
	check_incongruent(PF_HUGETLB_2M);
}

static void batch_incongruent_memfd(void)
{
	check_incongruent(PF_MEMFD);
}

static void *map_fd(int fd, int flags)
{
	void *mem = pf_mmap(SIZE, PROT_READ | PROT_WRITE, flags, fd);

	TEST_ASSERT(mem != MAP_FAILED, "mmap()");
	madvise(mem, SIZE, MADV_NOHUGEPAGE);
	return mem;
}

static void *make_memfd(int flags)
{
	int fd = memfd_create("pre_fault", MFD_CLOEXEC);
	void *mem;

	TEST_ASSERT(fd >= 0 && !ftruncate(fd, SIZE), "memfd_create()");
	mem = map_fd(fd, MAP_SHARED);
	pf_fill(mem, TEST_GPA, SIZE, 1);
	munmap(mem, SIZE);
	mem = map_fd(fd, flags);
	close(fd);
	return mem;
}

static void *make_memfd_unmapped(void)
{
	return make_memfd(MAP_SHARED);
}

static void *make_memfd_private(void)
{
	return make_memfd(MAP_PRIVATE);
}

static void *make_file_unmapped(void)
{
	return pf_mem(PF_FILE, SIZE, 1);
}

static void *make_shared_anon(void)
{
	void *mem = map_fd(-1, MAP_SHARED | MAP_ANONYMOUS);

	pf_fill(mem, TEST_GPA, SIZE, 1);
	return mem;
}

static void *make_mlocked(void)
{
	void *mem = pf_mem(PF_ANON, SIZE, 1);

	TEST_ASSERT(!mlock(mem, SIZE), "mlock()");
	TEST_ASSERT(!madvise(mem, SIZE, MADV_DONTDUMP), "madvise()");
	return mem;
}

static void *make_untouched(void)
{
	return pf_untouched(SIZE);
}

static const struct {
	const char *name;
	void *(*make)(void);
	uint8_t seed;
	bool writable;
} kinds[] = {
	{ "memfd, not mapped", make_memfd_unmapped, 1, true },
	{ "memfd, private", make_memfd_private, 1, false },
	{ "file, not mapped", make_file_unmapped, 1, false },
	{ "shared anonymous", make_shared_anon, 1, true },
	{ "mlocked", make_mlocked, 1, true },
	{ "never touched", make_untouched, PF_ZEROS, false },
};

static void read_all(struct kvm_vcpu *vcpu, uint8_t seed)
{
	uint8_t plan[NR_PAGES];

	memset(plan, seed, sizeof(plan));
	pf_plan(vcpu, plan, NR_PAGES);
	pf_guest_no_fault(vcpu, PF_READ_PLAN, TEST_GPA, NR_PAGES, 0, NR_PAGES);
}

/* Three page tables of each, mapped in the VMM only by the pre-fault itself. */
static void batch_memory_kinds(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct kvm_vcpu *vcpu;
		void *mem;

		pr_info("%s\n", kinds[i].name);
		mem = kinds[i].make();
		vcpu = pf_memory_vcpu(0, mem, SIZE);
		pf_map_pages(vcpu, TEST_GPA, SIZE, NR_PAGES);
		TEST_ASSERT(kinds[i].writable ||
			    !pf_smaps(mem, SIZE, "Anonymous"),
			    "%lu kB allocated by a pre-fault",
			    pf_smaps(mem, SIZE, "Anonymous"));
		read_all(vcpu, kinds[i].seed);
		if (kinds[i].writable)
			pf_guest_no_fault(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 4,
					  NR_PAGES);
		else
			pf_guest(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 4);
		pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 4);
		kvm_vm_free(vcpu->vm);
	}
}

struct worker {
	struct kvm_vcpu *vcpu;
	pthread_barrier_t *barrier;
};

static void *worker_fn(void *arg)
{
	struct worker *w = arg;

	pthread_barrier_wait(w->barrier);
	pf_map(w->vcpu, TEST_GPA, SIZE);
	return NULL;
}

/* The same where two vCPUs have to fault in the host's memory, too. */
static void batch_memory_kinds_parallel(void)
{
	pthread_barrier_t barrier;
	unsigned int i, j;

	pthread_barrier_init(&barrier, NULL, 2);
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct kvm_vcpu *vcpus[2];
		struct kvm_vm *vm = pf_guest_vm(2, vcpus);
		struct pf_stats before[2], d[2];
		pthread_t threads[2];
		struct worker w[2];

		vm_set_user_memory_region(vm, TEST_SLOT, 0, TEST_GPA, SIZE,
					  kinds[i].make());
		for (j = 0; j < 2; j++) {
			before[j] = pf_stats(vcpus[j]);
			w[j] = (struct worker) { vcpus[j], &barrier };
			threads[j] = pf_thread(worker_fn, &w[j]);
		}
		for (j = 0; j < 2; j++) {
			pf_join(threads[j]);
			d[j] = pf_stats_since(vcpus[j], &before[j]);
		}

		pr_info("%s: %lu and %lu pages\n", kinds[i].name,
			d[0].prefaulted, d[1].prefaulted);
		TEST_ASSERT(pf_mapped(&d[1], NR_PAGES, 0), "%lu pages mapped",
			    d[1].pages_4k);
		d[0].prefaulted += d[1].prefaulted;
		d[0].fixed += d[1].fixed;
		TEST_ASSERT(pf_prefaulted(&d[0], NR_PAGES) &&
			    pf_fixed(&d[0], NR_PAGES),
			    "pf_prefaulted %lu, pf_fixed %lu", d[0].prefaulted,
			    d[0].fixed);
		read_all(vcpus[0], kinds[i].seed);
		kvm_vm_free(vm);
	}
}

const struct pf_test pf_batch_range_tests[] = {
	PF_TEST(batch_partial_ranges),
	PF_TEST(batch_sieve),
	PF_TEST(batch_slot_boundaries),
	PF_TEST(batch_munmapped_pages),
	PF_TEST(batch_prot_none_pages),
	PF_TEST(batch_prot_read_pages),
	PF_TEST(batch_incongruent_anon),
	PF_TEST(batch_incongruent_thp),
	PF_TEST(batch_incongruent_hugetlb),
	PF_TEST(batch_incongruent_memfd),
	PF_TEST(batch_memory_kinds),
	PF_TEST(batch_memory_kinds_parallel),
	{ }
};
