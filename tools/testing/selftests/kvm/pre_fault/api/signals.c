// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY and signals: during a long call, and before the first page.
 * userfaultfd.c tests signals while a call waits for a page.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <linux/userfaultfd.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "../pre_fault.h"

#define NR_TRIES	8
#define SMALL_SIZE	(16 * PAGE_SIZE)

/* Map the zero page everywhere: a long range that takes no memory. */
static struct kvm_vcpu *vcpu_with_zeroes(uint64_t size)
{
	struct kvm_vcpu *vcpu = pf_raw_vcpu();

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, size,
				  pf_mem(PF_ANON_NEW, size, 0));
	return vcpu;
}

static struct timeval timeval(double seconds)
{
	return (struct timeval) {
		.tv_sec = seconds,
		.tv_usec = (seconds - (time_t)seconds) * 1e6,
	};
}

static void set_timer(double first, double interval)
{
	struct itimerval timer = {
		.it_value = timeval(first),
		.it_interval = timeval(interval),
	};

	TEST_ASSERT(!setitimer(ITIMER_REAL, &timer, NULL), "setitimer()");
}

/* The retry loop of a VMM, with a signal every millisecond */
static void signal_partial_progress(void)
{
	const uint64_t total = 256ul << 20;
	struct kvm_vcpu *vcpu = vcpu_with_zeroes(total);
	struct kvm_pre_fault_memory range = { .gpa = TEST_GPA, .size = total };
	unsigned int interrupted = 0;
	struct pf_stats before = pf_stats(vcpu), d;
	int ret;

	pf_catch(SIGALRM);
	set_timer(0.001 * pf_slowness, 0.001 * pf_slowness);
	while (range.size) {
		struct kvm_pre_fault_memory old = range;

		ret = pf_call(vcpu, &range);
		TEST_ASSERT(!ret || ret == EINTR, "errno %d (%s)", ret,
			    strerror(ret));
		TEST_ASSERT(range.gpa + range.size == TEST_GPA + total,
			    "gpa %#llx and size %#llx do not fit together",
			    range.gpa, range.size);
		TEST_ASSERT(ret ? range.size == old.size : range.size < old.size,
			    "errno %d with %#llx done", ret,
			    old.size - range.size);
		if (range.size)
			interrupted++;
	}
	set_timer(0, 0);

	TEST_ASSERT(interrupted, "no signal ever ended a call");
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(pf_prefaulted(&d, total / PAGE_SIZE) &&
		    pf_mapped(&d, total / PAGE_SIZE, 0),
		    "%lu of %llu pages pre-faulted", d.prefaulted,
		    total / PAGE_SIZE);
}

/*
 * Measure how long a call goes on after a signal. Take the best of some tries: in the
 * others, the machine may have been busy with something else.
 */
static void signal_latency(void)
{
	const uint64_t part = 64ul << 20, sample = 16ul << 20;
	struct kvm_vcpu *vcpu = vcpu_with_zeroes(sample + NR_TRIES * part);
	double start, delay, late, best = 1e9;
	unsigned int i;

	pf_catch(SIGALRM);
	start = pf_now();
	pf_map(vcpu, TEST_GPA, sample);
	delay = (pf_now() - start) / 2;

	for (i = 0; i < NR_TRIES; i++) {
		struct kvm_pre_fault_memory range = {
			.gpa = TEST_GPA + sample + i * part,
			.size = part,
		};

		start = pf_now();
		set_timer(delay, 0);
		TEST_ASSERT(!pf_call(vcpu, &range), "errno %d", errno);
		late = pf_now() - start - delay;
		set_timer(0, 0);
		if (range.size && late < best)
			best = late;
	}

	TEST_ASSERT(best < 0.01 * pf_slowness,
		    "a signal ended the call after %.1f ms at best", best * 1e3);
}

static void signal_masked(void)
{
	const uint64_t total = SZ_2M;
	struct kvm_vcpu *vcpu = vcpu_with_zeroes(total);
	sigset_t mask, pending;

	pf_catch(SIGUSR1);
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	TEST_ASSERT(!sigprocmask(SIG_BLOCK, &mask, NULL), "sigprocmask()");
	raise(SIGUSR1);

	pf_map(vcpu, TEST_GPA, total);
	sigpending(&pending);
	TEST_ASSERT(sigismember(&pending, SIGUSR1), "the signal is gone");
}

struct argument {
	int fd;
	pid_t tid;
	struct kvm_pre_fault_memory *range;
};

static void *argument_fn(void *arg)
{
	static char data[4096] __aligned(4096);
	struct argument *a = arg;

	*(struct kvm_pre_fault_memory *)data = (struct kvm_pre_fault_memory) {
		.gpa = TEST_GPA,
		.size = SMALL_SIZE,
	};
	pf_uffd_wait(a->fd);
	syscall(SYS_tgkill, getpid(), a->tid, SIGUSR1);
	pf_uffd_copy(a->fd, a->range, data);
	return NULL;
}

/* The signal comes before the first page: while the kernel reads the argument. */
static void eintr_pending(void)
{
	struct kvm_vcpu *vcpu = pf_raw_vcpu();
	struct argument a = { .tid = pf_gettid() };
	struct pf_stats before, d;
	pthread_t thread;
	int ret;

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, SMALL_SIZE,
				  pf_mem(PF_ANON, SMALL_SIZE, 1));
	pf_catch(SIGUSR1);
	before = pf_stats(vcpu);

	a.range = pf_mmap(PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1);
	a.fd = pf_uffd_open(a.range, PAGE_SIZE, UFFDIO_REGISTER_MODE_MISSING);
	thread = pf_thread(argument_fn, &a);
	ret = pf_call(vcpu, a.range);
	pf_join(thread);

	TEST_ASSERT(ret == EINTR, "errno %d (%s)", ret, strerror(ret));
	TEST_ASSERT(a.range->gpa == TEST_GPA && a.range->size == SMALL_SIZE,
		    "%#llx done", a.range->gpa - TEST_GPA);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(!d.prefaulted && !d.pages_4k, "%lu pages pre-faulted",
		    d.prefaulted);

	/* After the signal was delivered, the same call succeeds. */
	TEST_ASSERT(!pf_call(vcpu, a.range) && !a.range->size, "errno %d", errno);
}

const struct pf_test pf_signal_tests[] = {
	PF_TEST(signal_partial_progress),
	PF_TEST(signal_latency),
	PF_TEST(signal_masked),
	PF_TEST(eintr_pending),
	{ }
};
