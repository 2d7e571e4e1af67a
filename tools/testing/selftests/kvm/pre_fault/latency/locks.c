// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measure how long other threads wait for mmu_lock and other locks while a vCPU
 * pre-faults 1 TiB, by the kernel's trace of the slow paths of locks. mmu_lock is the
 * only spinning reader-writer lock that these calls take.
 */
#define _GNU_SOURCE
#include <sys/prctl.h>

#include "latency.h"

#define WAIT_SECONDS	0.002
#define NR_ROUNDS	60
/* Few rounds: each makes many calls that wait for RCU grace periods. */
#define NR_SLOT_ROUNDS	6
#define SMALL_SIZE	SZ_2M
#define SMALL_GPA	(2 * SZ_1G)
/* With room for another slot below */
#define SLOT_GPA	(4 * SZ_1G)
#define SLOT_SIZE	(BIG_SIZE - SLOT_GPA)

/* The text of these flags in include/trace/events/lock.h */
#define SPIN_READ	"SPIN|READ"
#define SPIN_WRITE	"SPIN|WRITE"

static const char * const lock_events[] = {
	"lock/contention_begin", "lock/contention_end", NULL,
};

struct calls {
	unsigned int nr;
	double sum;
	double worst;
};

/* A thread that needs a lock of the VM */
struct caller {
	struct kvm_vm *vm;
	void *big;
	void *small;
	struct calls calls;
};

typedef void (*disturb_fn)(struct caller *c, int round);

static void timed(struct caller *c, double start)
{
	double time = pf_now() - start;

	c->calls.nr++;
	c->calls.sum += time;
	c->calls.worst = max(c->calls.worst, time);
}

static void set_region(struct caller *c, uint32_t flags, uint64_t gpa,
		       uint64_t size)
{
	double start = pf_now();

	vm_set_user_memory_region(c->vm, TEST_SLOT3, flags, gpa, size, c->small);
	timed(c, start);
}

/* Create a memslot, toggle dirty logging, move and delete the memslot. */
static void memslots(struct caller *c, int round)
{
	set_region(c, 0, SMALL_GPA, SMALL_SIZE);
	set_region(c, KVM_MEM_LOG_DIRTY_PAGES, SMALL_GPA, SMALL_SIZE);
	set_region(c, 0, SMALL_GPA, SMALL_SIZE);
	set_region(c, 0, SMALL_GPA + SMALL_SIZE, SMALL_SIZE);
	set_region(c, 0, SMALL_GPA + SMALL_SIZE, 0);
}

static void drop(struct caller *c, void *mem, size_t size)
{
	double start = pf_now();

	TEST_ASSERT(!madvise(mem, size, MADV_DONTNEED), "MADV_DONTNEED");
	timed(c, start);
}

/* Invalidate memory of the VM outside of the pre-faulted range. */
static void notifier_elsewhere(struct caller *c, int round)
{
	WRITE_ONCE(*(uint64_t *)c->small, round);
	drop(c, c->small, SMALL_SIZE);
}

/* Invalidate memory of the pre-faulted range. */
static void notifier_same_memory(struct caller *c, int round)
{
	drop(c, c->big + (round % 16) * SZ_2M, SZ_2M);
}

static void notifier_mprotect(struct caller *c, int round)
{
	double start = pf_now();

	TEST_ASSERT(!mprotect(c->small, SMALL_SIZE, PROT_READ), "mprotect()");
	timed(c, start);
	start = pf_now();
	TEST_ASSERT(!mprotect(c->small, SMALL_SIZE, PROT_READ | PROT_WRITE),
		    "mprotect()");
	timed(c, start);
}

/*
 * An emulator that runs the CPUs in turn switches to the next CPU only when a timer
 * expires or the running CPU waits for a lock: let a timer expire often.
 */
static void *metronome_fn(void *arg)
{
	bool *stop = arg;

	pf_pin(0);
	prctl(PR_SET_TIMERSLACK, 1);
	while (!READ_ONCE(*stop))
		usleep(20);
	return NULL;
}

static void disturb(disturb_fn fn, struct caller *c)
{
	int nr = fn == memslots ? NR_SLOT_ROUNDS : NR_ROUNDS;
	bool stop = false, smp = pf_nr_cpus() > 1;
	pthread_t metronome;
	int round;

	if (smp)
		metronome = pf_thread(metronome_fn, &stop);
	memset(&c->calls, 0, sizeof(c->calls));
	for (round = 0; round < nr; round++) {
		fn(c, round);
		usleep(round * 37 % 100 * 10);
	}
	WRITE_ONCE(stop, true);
	if (smp)
		pf_join(metronome);
}

struct waits {
	unsigned int nr;
	double sum;
	double worst;
	double worst_other;
};

static struct waits read_waits(char *text)
{
	struct waits waits = {};
	char *line, *begin, *end;
	double since = -1, time;
	bool mmu_lock = false;

	while ((line = strsep(&text, "\n"))) {
		begin = strstr(line, "contention_begin:");
		end = strstr(line, "contention_end:");
		if (begin) {
			since = big_trace_time(line, begin);
			mmu_lock = strstr(begin, SPIN_READ) ||
				   strstr(begin, SPIN_WRITE);
		} else if (end && since >= 0) {
			time = big_trace_time(line, end) - since;
			since = -1;
			if (!mmu_lock) {
				waits.worst_other = max(waits.worst_other, time);
				continue;
			}
			waits.nr++;
			waits.sum += time;
			waits.worst = max(waits.worst, time);
		}
	}
	return waits;
}

static void check_waits(disturb_fn fn)
{
	bool smp = pf_nr_cpus() > 1;
	struct pf_loop loop = {
		.gpa = SLOT_GPA,
		.size = SLOT_SIZE,
		.errs = { EINTR, EAGAIN },
		.resume = true,
		.pinned = true,
		.cpu = smp ? 1 : 0,
	};
	unsigned int nr = 0;
	struct caller c;
	struct waits waits;
	struct calls alone;
	char *text;
	int i;

	pf_pin(0);
	big_urgent();

	for (i = 0; i < NR_BIG_MEMORY; i++) {
		c.big = big_vm(big_memory[i].memory, SLOT_GPA, SLOT_SIZE, 1, &loop.vcpu);
		c.vm = loop.vcpu->vm;
		c.small = pf_mem(PF_ANON_NEW, SMALL_SIZE, 0);
		if (fn != memslots)
			vm_set_user_memory_region(c.vm, TEST_SLOT3, 0, SMALL_GPA,
						  SMALL_SIZE, c.small);

		disturb(fn, &c);
		alone = c.calls;

		pf_loop_start(&loop);
		pf_trace_start(lock_events, pf_gettid());
		disturb(fn, &c);
		text = pf_trace_stop();
		pf_loop_stop(&loop);

		waits = read_waits(text);
		free(text);
		kvm_vm_free(c.vm);
		printf("%s: %u waits for mmu_lock, max %.3f ms, mean %.3f; others max %.3f\n",
		       big_name(i), waits.nr, waits.worst * 1e3,
		       waits.nr ? waits.sum / waits.nr * 1e3 : 0.,
		       waits.worst_other * 1e3);
		printf("%s: %u calls, max %.3f ms, mean %.3f; undisturbed %.3f, %.3f\n",
		       big_name(i), c.calls.nr, c.calls.worst * 1e3,
		       c.calls.sum / c.calls.nr * 1e3, alone.worst * 1e3,
		       alone.sum / alone.nr * 1e3);
		TEST_ASSERT(waits.worst <= WAIT_SECONDS * pf_slowness,
			    "mmu_lock was waited for %.3f ms", waits.worst * 1e3);
		nr += waits.nr;
	}
	if (!nr)
		pf_skip("no thread waited for mmu_lock%s",
			smp ? "" : ", on one CPU: see no_lockup_by_four_threads");
}

static void wait_memslots(void)
{
	check_waits(memslots);
}

static void wait_notifier_elsewhere(void)
{
	check_waits(notifier_elsewhere);
}

static void wait_notifier_same_memory(void)
{
	check_waits(notifier_same_memory);
}

static void wait_mprotect(void)
{
	check_waits(notifier_mprotect);
}

const struct pf_test pf_latency_lock_tests[] = {
	PF_TEST(wait_memslots),
	PF_TEST(wait_notifier_elsewhere),
	PF_TEST(wait_notifier_same_memory),
	PF_TEST(wait_mprotect),
	{ }
};
