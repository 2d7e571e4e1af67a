// SPDX-License-Identifier: GPL-2.0-only
/*
 * Host side of the tests of KVM_PRE_FAULT_MEMORY's manners: memslots that are
 * larger than the machine's memory, threads, traces.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <time.h>

#include "manners.h"

/* The host takes its time to take down mappings: not too many of them */
#define SMALL_FILE	(256ul << 20)

/* All of it is in the page cache, and stays there when a child ends. */
static int small_file(void)
{
	static int fd = -1;
	void *mem;

	if (fd >= 0)
		return fd;
	fd = memfd_create("pre_fault", MFD_CLOEXEC);
	TEST_ASSERT(fd >= 0 && !ftruncate(fd, SMALL_FILE), "memfd_create()");
	mem = pf_mmap_4k(SMALL_FILE, MAP_SHARED, fd);
	TEST_ASSERT(!madvise(mem, SMALL_FILE, MADV_POPULATE_WRITE),
		    "MADV_POPULATE_WRITE");
	munmap(mem, SMALL_FILE);
	return fd;
}

/* The small file, mapped again and again */
static void *mem_file(size_t size)
{
	void *mem = pf_mmap(size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	int fd = small_file();
	size_t offset;

	TEST_ASSERT(mem != MAP_FAILED, "mmap() of %#lx bytes", size);
	for (offset = 0; offset < size; offset += SMALL_FILE)
		TEST_ASSERT(mmap(mem + offset, min(size - offset, SMALL_FILE),
				 PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
				 fd, 0) != MAP_FAILED, "mmap() of the file");
	return mem;
}

static void *mem_anon(size_t size)
{
	return pf_mmap_4k(size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
}

/* The read of a page that is not there finds the huge zero page. */
static void *mem_thp(size_t size)
{
	void *mem = mem_anon(size);

	madvise(mem, size, MADV_HUGEPAGE);
	return mem;
}

const struct big_kind big_kinds[NR_BIG_KINDS] = {
	[BIG_FILE] = { "small file", mem_file, 500 },
	[BIG_ANON] = { "untouched", mem_anon, 500 },
	[BIG_THP] = { "untouched, THP", mem_thp, 100 },
};

void *big_vm(const struct big_kind *kind, uint64_t gpa, size_t size,
	     unsigned int nr_vcpus, struct kvm_vcpu *vcpus[])
{
	struct kvm_vm *vm = vm_create_barebones();
	void *mem = kind->mem(size);
	unsigned int i;

	vm_set_user_memory_region(vm, TEST_SLOT, 0, gpa, size, mem);
	for (i = 0; i < nr_vcpus; i++) {
		vcpus[i] = __vm_vcpu_add(vm, i);
		pf_arch_vcpu_init(vcpus[i]);
	}
	return mem;
}

int big_nr_cpus(void)
{
	cpu_set_t all;

	TEST_ASSERT(!sched_getaffinity(0, sizeof(all), &all),
		    "sched_getaffinity()");
	return CPU_COUNT(&all);
}

void big_pin(int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	TEST_ASSERT(!sched_setaffinity(0, sizeof(one), &one),
		    "sched_setaffinity() to CPU %d", cpu);
}

void big_urgent(void)
{
	struct sched_param param = { .sched_priority = 50 };

	TEST_ASSERT(!sched_setscheduler(0, SCHED_FIFO, &param),
		    "sched_setscheduler()");
}

void big_usleep(unsigned int us)
{
	struct timespec t = {
		.tv_sec = us / 1000000,
		.tv_nsec = us % 1000000 * 1000,
	};

	nanosleep(&t, NULL);
}

static void *big_worker_fn(void *arg)
{
	struct big_worker *w = arg;
	struct kvm_pre_fault_memory range = {};
	struct sched_param param = {};
	int ret;

	/* The starting thread may have a real-time policy. */
	TEST_ASSERT(!sched_setscheduler(0, SCHED_OTHER, &param),
		    "sched_setscheduler()");
	if (w->cpu >= 0)
		big_pin(w->cpu);
	WRITE_ONCE(w->started, true);
	while (!READ_ONCE(w->stop)) {
		if (!range.size) {
			range.gpa = w->gpa;
			range.size = w->size;
			w->rounds++;
		}
		ret = pf_call(w->vcpu, &range);
		w->ended = pf_now();
		TEST_ASSERT(!ret || ret == EINTR || ret == EAGAIN,
			    "KVM_PRE_FAULT_MEMORY at %#llx: errno %d (%s)",
			    range.gpa, ret, strerror(ret));
	}
	return NULL;
}

void big_worker_start(struct big_worker *w)
{
	pf_catch(SIGUSR1);
	w->started = false;
	w->stop = false;
	w->rounds = 0;
	w->thread = pf_thread(big_worker_fn, w);
	while (!READ_ONCE(w->started))
		big_usleep(50);
}

void big_worker_stop(struct big_worker *w)
{
	WRITE_ONCE(w->stop, true);
	pthread_kill(w->thread, SIGUSR1);
	pf_join(w->thread);
}

long big_leaves(void)
{
	long n4k = pf_read_long("/sys/kernel/debug/kvm/pages_4k");
	long n2m = pf_read_long("/sys/kernel/debug/kvm/pages_2m");

	/* Not counted everywhere; there are no more than pages pre-faulted. */
	if (n4k < 0 || n2m < 0)
		return pf_read_long("/sys/kernel/debug/kvm/pf_prefaulted");
	return n4k + n2m;
}

double manners_trace_time(const char *text, const char *event)
{
	/* "TASK-PID [CPU] FLAGS SECONDS: EVENT: ..." */
	const char *p = event - 2;

	while (p > text && p[-1] != ' ' && p[-1] != '\n')
		p--;
	return atof(p);
}
