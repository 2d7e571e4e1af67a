// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY and dirty logging, at scale: the log has the pages that
 * the guest wrote, each once and no other, also while logging goes on and off
 * under a running pre-fault.
 */
#define _GNU_SOURCE
#include "pre_fault.h"

#define NR_PAGES	1536
#define SIZE		(NR_PAGES * PAGE_SIZE)
#define NR_WORDS	(NR_PAGES / 64)
#define BYTES(pages)	((pages) * PAGE_SIZE)

/* Of the memory of a page table and a page is left over at either end. */
#define SHIFT		BYTES(1)

struct log {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	void *mem;
	/* Pages must be cleared one by one in the log. */
	bool manual;
	/* The seed of the guest's current or last writes */
	uint8_t plan[NR_PAGES];
};

static void set_flags(struct log *log, uint32_t flags)
{
	vm_set_user_memory_region(log->vm, TEST_SLOT, flags, TEST_GPA, SIZE,
				  log->mem);
}

static uint64_t make_plan(struct log *log, unsigned int step, unsigned int first,
			  uint8_t seed)
{
	uint64_t i, nr = 0;

	memset(log->plan, PF_SKIP, sizeof(log->plan));
	for (i = first; i < NR_PAGES; i += step, nr++)
		log->plan[i] = seed;
	pf_plan(log->vcpu, log->plan, NR_PAGES);
	return nr;
}

static void check_log(struct log *log)
{
	uint64_t bitmap[NR_WORDS] = {}, i;

	kvm_vm_get_dirty_log(log->vm, TEST_SLOT, bitmap);
	for (i = 0; i < NR_PAGES; i++) {
		bool dirty = bitmap[i / 64] >> (i % 64) & 1;

		TEST_ASSERT(dirty == !!log->plan[i], "page %lu is %sdirty", i,
			    dirty ? "" : "not ");
	}
	if (log->manual)
		kvm_vm_clear_dirty_log(log->vm, TEST_SLOT, bitmap, 0, NR_PAGES);
}

static void check_log_empty(struct log *log)
{
	memset(log->plan, PF_SKIP, sizeof(log->plan));
	check_log(log);
}

/* Write by plan, have a look at the log, and at the memory. */
static void write_and_check(struct log *log, unsigned int step,
			    unsigned int first, uint8_t seed)
{
	uint64_t nr = make_plan(log, step, first, seed), i;
	struct pf_stats d;

	d = pf_guest_stats(log->vcpu, PF_WRITE_PLAN, TEST_GPA, NR_PAGES, 0);
	TEST_ASSERT(d.taken == nr, "%lu faults for %lu first writes", d.taken,
		    nr);
	for (i = first; i < NR_PAGES; i += step)
		TEST_ASSERT(pf_page_is(log->mem + BYTES(i), TEST_GPA + BYTES(i),
				       seed), "page %lu: write lost", i);
	check_log(log);
	check_log_empty(log);
}

static void check_logging(struct log *log)
{
	pf_map_pages(log->vcpu, TEST_GPA, SIZE, NR_PAGES);
	check_log_empty(log);
	pf_guest_no_fault(log->vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
	check_log_empty(log);

	write_and_check(log, 3, 0, 2);
	/* Some of them again, which are read-only again */
	pf_map_pages(log->vcpu, TEST_GPA, SIZE, 0);
	check_log_empty(log);
	write_and_check(log, 5, 1, 3);
	write_and_check(log, 1, 0, 4);

	/* All the faults are over with the log. */
	set_flags(log, 0);
	pf_map(log->vcpu, TEST_GPA, SIZE);
	pf_guest(log->vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 5);
	pf_guest_no_fault(log->vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 6, 0);
	pf_guest_check(log->vcpu, TEST_GPA, NR_PAGES, 6);
}

static void log_init(struct log *log, void *mem, uint32_t flags)
{
	log->vcpu = pf_memory_vcpu(flags, mem, SIZE);
	log->vm = log->vcpu->vm;
	log->mem = mem;
}

static void check_backing(enum pf_backing backing)
{
	struct log log = {};

	log_init(&log, pf_mem(backing, SIZE, 1), KVM_MEM_LOG_DIRTY_PAGES);
	check_logging(&log);
}

static void batch_dirty_log_anon(void)
{
	check_backing(PF_ANON);
}

static void batch_dirty_log_memfd(void)
{
	check_backing(PF_MEMFD);
}

static void batch_dirty_log_thp(void)
{
	check_backing(PF_THP);
}

static void batch_dirty_log_hugetlb(void)
{
	check_backing(PF_HUGETLB_2M);
}

static void batch_dirty_log_incongruent_thp(void)
{
	void *mem = pf_mem(PF_THP, SIZE + SZ_2M, 1) + SHIFT;
	struct log log = {};

	pf_fill(mem, TEST_GPA, SIZE, 1);
	log_init(&log, mem, KVM_MEM_LOG_DIRTY_PAGES);
	check_logging(&log);
}

/* All is dirty at first, and nothing write-protected, until it is cleared. */
static void batch_dirty_log_manual(void)
{
	int caps = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE |
		   KVM_DIRTY_LOG_INITIALLY_SET;
	struct log log = { .manual = true };

	if ((kvm_check_cap(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) & caps) != caps)
		pf_skip("no KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2");
	log_init(&log, pf_mem(PF_ANON, SIZE, 1), 0);
	vm_enable_cap(log.vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, caps);
	set_flags(&log, KVM_MEM_LOG_DIRTY_PAGES);
	make_plan(&log, 1, 0, 1);
	check_log(&log);
	check_logging(&log);
}

struct looper {
	struct kvm_vcpu *vcpu;
	bool stop;
	unsigned long calls;
};

static void *loop_fn(void *arg)
{
	struct looper *l = arg;

	while (!READ_ONCE(l->stop)) {
		pf_map(l->vcpu, TEST_GPA, SIZE);
		WRITE_ONCE(l->calls, l->calls + 1);
	}
	return NULL;
}

static void write_random(struct log *log, uint8_t seed)
{
	uint64_t nr = make_plan(log, 3 + random() % 14, random() % 7, seed), i;

	pf_guest(log->vcpu, PF_WRITE_PLAN, TEST_GPA, NR_PAGES, 0);
	pf_guest(log->vcpu, PF_READ_PLAN, TEST_GPA, NR_PAGES, 0);
	for (i = 0; i < NR_PAGES; i++)
		TEST_ASSERT(log->plan[i] == PF_SKIP ||
			    pf_page_is(log->mem + BYTES(i), TEST_GPA + BYTES(i),
				       seed), "page %lu of %lu: write lost",
			    i, nr);
}

/*
 * Another vCPU pre-faults all the time. Each page that the guest writes to while
 * logging is on has to be in one log, and in no second one.
 */
static void check_toggling(enum pf_backing backing)
{
	double end = pf_now() + 6.0 * pf_slowness;
	unsigned int round, nr = 100 * pf_rounds / 1000 + 1, i;
	struct kvm_vcpu *vcpus[2];
	struct looper l = {};
	struct log log = {
		.vm = pf_guest_vm(2, vcpus),
		.vcpu = vcpus[0],
		.mem = pf_mem(backing, SIZE, 1),
	};
	pthread_t thread;

	srandom(pf_seed);
	pr_info("-S %u has the same writes again\n", pf_seed);
	set_flags(&log, 0);
	l.vcpu = vcpus[1];
	thread = pf_thread(loop_fn, &l);

	for (round = 0; round < nr && (round < 3 || pf_now() < end); round++) {
		/* Written already, or mapped anew, when it begins */
		if (round % 2)
			write_random(&log, 200);
		else
			madvise(log.mem, SIZE / 2, MADV_DONTNEED);
		set_flags(&log, KVM_MEM_LOG_DIRTY_PAGES);
		for (i = 0; i < 3; i++) {
			write_random(&log, 1 + round % 100 + i);
			check_log(&log);
		}
		set_flags(&log, 0);
		write_random(&log, 201);
	}

	WRITE_ONCE(l.stop, true);
	pf_join(thread);
	pr_info("%u rounds, %lu calls\n", round, l.calls);
	TEST_ASSERT(l.calls, "not a single call");
}

static void batch_dirty_log_toggle_anon(void)
{
	check_toggling(PF_ANON);
}

static void batch_dirty_log_toggle_thp(void)
{
	check_toggling(PF_THP);
}

const struct pf_test pf_batch_dirty_tests[] = {
	PF_TEST(batch_dirty_log_anon),
	PF_TEST(batch_dirty_log_memfd),
	PF_TEST(batch_dirty_log_thp),
	PF_TEST(batch_dirty_log_hugetlb),
	PF_TEST(batch_dirty_log_incongruent_thp),
	PF_TEST(batch_dirty_log_manual),
	PF_TEST(batch_dirty_log_toggle_anon),
	PF_TEST(batch_dirty_log_toggle_thp),
	{ }
};
