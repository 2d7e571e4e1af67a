// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY of a whole page table, over and over, against changes of
 * single pages in it. Every page has the number of its last change written into
 * it: right after the change the guest must read that, and what the guest then
 * writes must be where the host looks for it.
 */
#define _GNU_SOURCE
#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "pre_fault.h"

#define NR_PAGES	512
#define SIZE		(NR_PAGES * PAGE_SIZE)
#define RACE_SECONDS	6
/* Pages changed before all are looked at, which is a round */
#define NR_CHANGES	16

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

struct race {
	struct kvm_vcpu *guest;
	struct kvm_vcpu *vcpu;
	void *mem;
	void *spare;
	/* The other view of shared memory, if it is */
	void *shared;
	bool may_fail;
	bool stop;
	unsigned long calls;
	unsigned long done;
	uint8_t seed[NR_PAGES];
};

static void *page_of(void *mem, unsigned int i)
{
	return mem + i * PAGE_SIZE;
}

static uint64_t gpa_of(unsigned int i)
{
	return TEST_GPA + i * PAGE_SIZE;
}

static void *race_fn(void *arg)
{
	struct race *r = arg;

	while (!READ_ONCE(r->stop)) {
		struct kvm_pre_fault_memory range = {
			.gpa = TEST_GPA,
			.size = SIZE,
		};
		int ret = pf_call(r->vcpu, &range);

		TEST_ASSERT(!ret || (ret == EFAULT && r->may_fail),
			    "errno %d (%s)", ret, strerror(ret));
		TEST_ASSERT(ret || !range.size || r->may_fail, "%#llx left",
			    range.size);
		WRITE_ONCE(r->calls, r->calls + 1);
	}

	return NULL;
}

/* Let a pre-fault look at the memory as it is now. */
static void let_in(struct race *r)
{
	unsigned long calls = READ_ONCE(r->calls);
	double end = pf_now() + 0.01 * pf_slowness;

	while (READ_ONCE(r->calls) == calls && pf_now() < end)
		sched_yield();
}

static void stamp(struct race *r, unsigned int i, uint8_t seed)
{
	r->seed[i] = seed;
	pf_fill(page_of(r->mem, i), gpa_of(i), PAGE_SIZE, seed);
}

static void advise(struct race *r, unsigned int i, unsigned int nr, int advice)
{
	TEST_ASSERT(!madvise(page_of(r->mem, i), nr * PAGE_SIZE, advice),
		    "madvise(%d): errno %d", advice, errno);
}

static void check_all(struct race *r)
{
	pf_plan(r->guest, r->seed, NR_PAGES);
	TEST_ASSERT(!pf_guest(r->guest, PF_READ_PLAN, TEST_GPA, NR_PAGES, 0),
		    "the guest read old data");
}

/* The guest sees the host's writes, and vice versa. */
static void check_page(struct race *r, unsigned int i, uint8_t seed)
{
	TEST_ASSERT(!pf_guest(r->guest, PF_READ, gpa_of(i), 1, r->seed[i]),
		    "page %u: the guest read old data", i);
	pf_guest(r->guest, PF_WRITE, gpa_of(i), 1, seed);
	TEST_ASSERT(pf_page_is(page_of(r->mem, i), gpa_of(i), seed),
		    "page %u: the guest's write is lost", i);
	TEST_ASSERT(!r->shared || pf_page_is(page_of(r->shared, i), gpa_of(i),
					     seed),
		    "page %u: the guest's write is not in the file", i);
	r->seed[i] = seed;
}

/*
 * Have single pages changed by @change, which leaves them without contents, or
 * all of the memory by @disturb.
 */
static void race_run(struct race *r,
		     void (*change)(struct race *r, unsigned int i),
		     void (*disturb)(struct race *r, unsigned int round))
{
	unsigned int round, rounds = 100 * pf_rounds / 1000 + 1, i, j;
	double end = pf_now() + RACE_SECONDS * pf_slowness;
	pthread_t thread;

	for (i = 0; i < NR_PAGES; i++)
		stamp(r, i, 1);
	srandom(pf_seed);
	pr_info("-S %u has the same pages again\n", pf_seed);
	thread = pf_thread(race_fn, r);

	for (round = 0; round < rounds && (!round || pf_now() < end); round++) {
		uint8_t seed = 1 + round % 100;

		if (disturb)
			disturb(r, round);
		for (j = 0; change && j < NR_CHANGES; j++) {
			i = random() % NR_PAGES;
			change(r, i);
			/* It may be mapped in between as what it is then. */
			if (j % 2)
				let_in(r);
			stamp(r, i, seed);
			check_page(r, i, seed + 101);
		}
		check_all(r);
	}

	WRITE_ONCE(r->stop, true);
	pf_join(thread);
	pr_info("%u rounds, %lu calls\n", round, r->calls);
	TEST_ASSERT(r->calls, "not a single call");

	r->may_fail = false;
	pf_map(r->vcpu, TEST_GPA, SIZE);
	check_all(r);
}

static void race_init(struct race *r, void *mem)
{
	struct kvm_vcpu *vcpus[2];
	struct kvm_vm *vm = pf_guest_vm(2, vcpus);

	r->guest = vcpus[0];
	r->vcpu = vcpus[1];
	r->mem = mem;
	r->spare = pf_untouched(SIZE);
	vm_set_user_memory_region(vm, TEST_SLOT, 0, TEST_GPA, SIZE, mem);
}

/*
 * Many pages go and come again. While the first of them go, the last are still
 * there to be looked up.
 */
static void renew_ranges(struct race *r, unsigned int round, int advice)
{
	unsigned int pass, i, first, nr;

	for (pass = 0; pass < 8; pass++) {
		first = pass % 4 ? random() % NR_PAGES : 0;
		nr = 1 + random() % (NR_PAGES - first);
		advise(r, first, nr, advice);
		for (i = first; i < first + nr; i++)
			stamp(r, i, 1 + (8 * round + pass) % 200);
		check_all(r);
	}
}

static void dontneed_ranges(struct race *r, unsigned int round)
{
	renew_ranges(r, round, MADV_DONTNEED);
}

static void dontneed(struct race *r, unsigned int i)
{
	advise(r, i, 1, MADV_DONTNEED);
}

static void batch_race_dontneed(void)
{
	struct race r = {};

	race_init(&r, pf_mem(PF_ANON, SIZE, 1));
	race_run(&r, dontneed, dontneed_ranges);
}

/* Private copies go and come again, over the pages of a file. */
static void batch_race_private_file(void)
{
	struct race r = {};

	race_init(&r, pf_mem(PF_FILE, SIZE, 1));
	race_run(&r, dontneed, dontneed_ranges);
}

static void punch_hole(struct race *r, unsigned int i)
{
	advise(r, i, 1, MADV_REMOVE);
}

static void punch_ranges(struct race *r, unsigned int round)
{
	renew_ranges(r, round, MADV_REMOVE);
}

static void batch_race_punch_hole(void)
{
	int fd = memfd_create("pre_fault", MFD_CLOEXEC);
	struct race r = {};
	void *mem;

	TEST_ASSERT(fd >= 0 && !ftruncate(fd, SIZE), "memfd_create()");
	mem = pf_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	r.shared = pf_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	TEST_ASSERT(mem != MAP_FAILED && r.shared != MAP_FAILED, "mmap()");
	race_init(&r, mem);
	race_run(&r, punch_hole, punch_ranges);
}

/* Read-only for the guest as long as it is for the VMM */
static void protect(struct race *r, unsigned int i)
{
	void *page = page_of(r->mem, i);

	TEST_ASSERT(!mprotect(page, PAGE_SIZE, PROT_READ), "mprotect()");
	let_in(r);
	pf_guest_order(r->guest, PF_WRITE, gpa_of(i), 1, 250);
	TEST_ASSERT(__vcpu_run(r->guest) == -1 && errno == EFAULT,
		    "page %u could be written", i);
	TEST_ASSERT(pf_page_is(page, gpa_of(i), r->seed[i]),
		    "page %u was written", i);
	TEST_ASSERT(!mprotect(page, PAGE_SIZE, PROT_READ | PROT_WRITE),
		    "mprotect()");
	vcpu_run(r->guest);
	pf_guest_finish(r->guest);
	TEST_ASSERT(pf_page_is(page, gpa_of(i), 250), "page %u: write lost", i);
}

static void batch_race_mprotect(void)
{
	struct race r = {};

	race_init(&r, pf_mem(PF_ANON, SIZE, 1));
	race_run(&r, protect, NULL);
}

/* Another page takes the place, with its contents. */
static void move(struct race *r, unsigned int i)
{
	void *spare = page_of(r->spare, i), *page = page_of(r->mem, i);

	r->seed[i] = 1 + (r->seed[i] + 1) % 200;
	TEST_ASSERT(mmap(spare, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			 MAP_ANONYMOUS | MAP_FIXED, -1, 0) == spare, "mmap()");
	pf_fill(spare, gpa_of(i), PAGE_SIZE, r->seed[i]);
	TEST_ASSERT(mremap(spare, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE |
			   MREMAP_FIXED, page) == page, "mremap()");
	check_page(r, i, 200);
}

static void batch_race_mremap(void)
{
	struct race r = { .may_fail = true };

	race_init(&r, pf_mem(PF_ANON, SIZE, 1));
	race_run(&r, move, NULL);
}

static void check_child_pages(struct race *r)
{
	unsigned int i;

	for (i = 0; i < NR_PAGES; i++)
		if (!pf_page_is(page_of(r->mem, i), gpa_of(i), r->seed[i]))
			_exit(2);
	_exit(0);
}

/*
 * While the pages are being mapped as writable, they become another process's,
 * too, which keeps what it got.
 */
static void fork_and_write(struct race *r, unsigned int round)
{
	uint8_t seed = 1 + round % 200;
	int fds[2], status;
	unsigned int i;
	pid_t pid;
	char c;

	TEST_ASSERT(!pipe(fds), "pipe()");
	advise(r, 0, NR_PAGES, MADV_DONTNEED);
	for (i = 0; i < NR_PAGES; i++)
		stamp(r, i, seed);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork()");
	if (!pid) {
		close(fds[1]);
		if (read(fds[0], &c, 1) != 0)
			_exit(1);
		check_child_pages(r);
	}
	close(fds[0]);

	if (round % 2)
		let_in(r);
	pf_guest(r->guest, PF_WRITE, TEST_GPA, NR_PAGES, seed + 1);
	memset(r->seed, seed + 1, sizeof(r->seed));
	for (i = 0; i < NR_PAGES; i++)
		TEST_ASSERT(pf_page_is(page_of(r->mem, i), gpa_of(i), seed + 1),
			    "page %u: the guest's write is lost", i);

	close(fds[1]);
	TEST_ASSERT(waitpid(pid, &status, 0) == pid && !status,
		    "the guest wrote to the other process: status %#x", status);
}

static void batch_race_fork(void)
{
	struct race r = {};

	race_init(&r, pf_mem(PF_ANON, SIZE, 1));
	race_run(&r, NULL, fork_and_write);
}

/* Small pages, with a hole among them, become a huge one, and that is split. */
static void collapse(struct race *r, unsigned int round)
{
	unsigned int i = random() % NR_PAGES, tries;
	void *page = page_of(r->mem, i);

	advise(r, i, 1, MADV_DONTNEED);
	if (round % 2)
		stamp(r, i, 1 + round % 200);
	else
		r->seed[i] = PF_ZEROS;

	/* A page that is in use just then is a reason for it to fail. */
	for (tries = 0; tries < 20; tries++) {
		if (!madvise(r->mem, SIZE, MADV_COLLAPSE)) {
			r->done++;
			break;
		}
		if (errno == EINVAL)
			pf_skip("no MADV_COLLAPSE");
	}
	check_all(r);
	i = random() % NR_PAGES;
	stamp(r, i, 1 + (round + 50) % 200);
	check_page(r, i, 1 + (round + 51) % 200);

	if (round % 3) {
		TEST_ASSERT(!mprotect(page, PAGE_SIZE, PROT_READ), "mprotect()");
		let_in(r);
		TEST_ASSERT(!mprotect(page, PAGE_SIZE, PROT_READ | PROT_WRITE),
			    "mprotect()");
	}
	check_all(r);
}

static void batch_race_collapse(void)
{
	struct race r = {};

	race_init(&r, pf_mem(PF_ANON, SIZE, 1));
	madvise(r.mem, SIZE, MADV_HUGEPAGE);
	race_run(&r, dontneed, collapse);
	pr_info("%lu times collapsed\n", r.done);
	TEST_ASSERT(r.done, "never collapsed");
}

static void page_out(struct race *r, unsigned int i)
{
	unsigned int nr = min(NR_PAGES - i, 8u);

	/* Some with their contents, the last without */
	advise(r, i, nr, MADV_PAGEOUT);
	let_in(r);
	TEST_ASSERT(!pf_guest(r->guest, PF_READ, gpa_of(i), 1, r->seed[i]),
		    "page %u came back with other contents", i);
	advise(r, i, 1, MADV_DONTNEED);
}

static void batch_race_swap(void)
{
	struct race r = {};

	pf_need_swap();
	race_init(&r, pf_mem(PF_ANON, SIZE, 1));
	race_run(&r, page_out, NULL);
}

const struct pf_test pf_batch_race_tests[] = {
	PF_TEST(batch_race_dontneed),
	PF_TEST(batch_race_private_file),
	PF_TEST(batch_race_punch_hole),
	PF_TEST(batch_race_mprotect),
	PF_TEST(batch_race_mremap),
	PF_TEST(batch_race_fork),
	PF_TEST(batch_race_collapse),
	PF_TEST(batch_race_swap),
	{ }
};
