// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Copyright (C) 2026 The KVM_PRE_FAULT_MEMORY maintainers
 *
 * The helper with fake system calls and fake threads.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "fake-ioctl.h"

struct fake fake = { .lock = PTHREAD_MUTEX_INITIALIZER };
pthread_t caller;

static void complain(const char *what)
{
	if (!fake.complaint)
		fake.complaint = what;
}

static int fake_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			       void *(*fn)(void *), void *arg)
{
	int error = EAGAIN;

	if (fake.created < fake.threads) {
		fake.created++;
		error = pthread_create(thread, attr, fn, arg);
	}
	return error;
}

static int fake_nanosleep(const struct timespec *wait, struct timespec *left)
{
	long rest = fake.cut ? wait->tv_nsec / 2000 * 1000 : 0;

	pthread_mutex_lock(&fake.lock);
	fake.waits += (wait->tv_nsec - rest) / 1000;
	pthread_mutex_unlock(&fake.lock);
	if (!rest)
		return 0;
	left->tv_nsec = rest;
	errno = EINTR;
	return -1;
}

static int fake_pthread_kill(pthread_t thread, int signo)
{
	pthread_mutex_lock(&fake.lock);
	fake.kicks++;
	pthread_mutex_unlock(&fake.lock);
	return pthread_kill(thread, signo);
}

static void check_signals(void)
{
	sigset_t mask;

	if (pthread_equal(pthread_self(), caller))
		return;
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	if (!sigismember(&mask, SIGALRM) || !sigismember(&mask, SIGTERM))
		complain("a worker does not block the VMM's signals");
	if (sigismember(&mask, SIGSEGV) || sigismember(&mask, SIGSYS))
		complain("a worker blocks its own faults");
}

static void sleep_for_a_signal(void)
{
	struct timespec limit = { .tv_sec = 10 };

	fake.sleeps++;
	pthread_mutex_unlock(&fake.lock);
	if (!clock_nanosleep(CLOCK_MONOTONIC, 0, &limit, NULL))
		complain("a call was left sleeping");
	pthread_mutex_lock(&fake.lock);
	fake.woken = fake.calls;
}

static bool is_within(uint64_t page, uint64_t gpa, uint64_t size)
{
	return page >= gpa && page - gpa < size;
}

static int answer(unsigned int vcpu, struct kvm_pre_fault_memory *range)
{
	uint64_t size = range->size, first = (range->gpa - fake.base) / SZ_4K;

	fake.calls++;
	if (fake.stop_after && fake.calls == fake.stop_after)
		__atomic_store_n(&fake.stop, 1, __ATOMIC_RELAXED);

	if (range->flags || range->padding[0] || range->padding[4])
		complain("flags or padding are not 0");
	if (!size || (range->gpa | size) % SZ_4K || range->gpa < fake.base ||
	    range->gpa - fake.base + size > fake.size) {
		complain("a call with a wrong range");
		return -EINVAL;
	}
	/* Pieces are cut at 2M, except at the range's ends and after a partial call. */
	if (!fake.ragged && range->gpa % SZ_2M && range->gpa != fake.base &&
	    range->gpa != fake.next[vcpu])
		complain("a piece begins within a huge page");
	if (!fake.ragged && (range->gpa + size) % SZ_2M &&
	    range->gpa + size != fake.base + fake.size)
		complain("a piece ends within a huge page");
	fake.used[vcpu] = true;
	fake.thread[vcpu] = pthread_self();
	if (size > fake.longest)
		fake.longest = size;

	if (is_within(fake.sleep_gpa, range->gpa, size)) {
		sleep_for_a_signal();
		return -EINTR;
	}
	if (fake.idle)
		return 0;
	if (fake.wild) {
		range->gpa += size + SZ_4K;
		range->size = -SZ_4K;
		return 0;
	}

	/* In a test with a call that sleeps, return errors only while that call sleeps. */
	while (fake.errors && fake.sleep_gpa != ANYWHERE && !fake.sleeps) {
		pthread_mutex_unlock(&fake.lock);
		sched_yield();
		pthread_mutex_lock(&fake.lock);
	}

	/* Slow the other vCPUs down once a call sleeps. */
	if (fake.sleeps) {
		pthread_mutex_unlock(&fake.lock);
		usleep(1000);
		pthread_mutex_lock(&fake.lock);
	}

	if (fake.most && size > fake.most)
		size = fake.most;
	if (fake.errors && (fake.error_gpa == ANYWHERE || fake.error_gpa == range->gpa)) {
		fake.errors--;
		return -fake.error;
	}
	if (fake.errors && is_within(fake.error_gpa, range->gpa, size))
		size = fake.error_gpa - range->gpa;
	for (uint64_t i = 0; i < size / SZ_4K; i++) {
		if (fake.memory && !fake.populated[first + i])
			complain("memory is not populated first");
		fake.hits[first + i]++;
	}
	range->gpa += size;
	range->size -= size;
	fake.next[vcpu] = range->gpa;
	if (fake.again)
		fake.errors = 900;
	return 0;
}

static int fake_ioctl(int fd, unsigned long request, ...)
{
	struct kvm_pre_fault_memory *range;
	unsigned int vcpu = fd - FIRST_FD;
	va_list args;
	int error;

	va_start(args, request);
	range = va_arg(args, struct kvm_pre_fault_memory *);
	va_end(args);

	pthread_mutex_lock(&fake.lock);
	if (request != 0xc040aed5 || vcpu >= MAX_VCPUS || fake.busy[vcpu])
		complain("another ioctl, or two calls at once on one vCPU");
	vcpu %= MAX_VCPUS;
	fake.busy[vcpu] = true;
	check_signals();
	error = answer(vcpu, range);
	fake.busy[vcpu] = false;
	pthread_mutex_unlock(&fake.lock);

	if (error) {
		errno = -error;
		return -1;
	}
	/* Let another thread run, so that all get to work on one CPU, too. */
	sched_yield();
	return 0;
}

static int fake_madvise(void *addr, size_t size, int advice)
{
	uint64_t first = ((char *)addr - fake.memory) / SZ_4K;

	pthread_mutex_lock(&fake.lock);
	fake.populates++;
	if (advice != MADV_POPULATE_WRITE || first + size / SZ_4K > fake.size / SZ_4K)
		complain("other memory is populated");
	else
		memset(fake.populated + first, 1, size / SZ_4K);
	pthread_mutex_unlock(&fake.lock);
	errno = fake.populate_error;
	return errno ? -1 : 0;
}

static off_t fake_lseek(int fd, off_t offset, int whence)
{
	off_t within = fake.period ? offset % (off_t)fake.period : 0;
	bool in_data = !fake.period || within < (off_t)fake.period / 2;
	off_t end = fake.file_end;

	errno = fd == FILE_FD ? fake.seek_error : EBADF;
	if (!errno && offset >= end)
		errno = ENXIO;
	if (errno)
		return -1;
	if (whence == SEEK_DATA && !in_data)
		offset += (off_t)fake.period - within;
	if (whence == SEEK_HOLE && in_data)
		offset += fake.period ? (off_t)fake.period / 2 - within : end - offset;
	if (offset < end)
		return offset;
	errno = ENXIO;
	return whence == SEEK_HOLE ? end : -1;
}

void prepare(uint64_t base, uint64_t size)
{
	memset(fake.hits, 0, sizeof(fake.hits));
	memset(fake.populated, 0, sizeof(fake.populated));
	memset(fake.used, 0, sizeof(fake.used));
	memset(fake.next, 0xff, sizeof(fake.next));
	fake.base = base;
	fake.size = size;
	fake.error_gpa = base;
	fake.errors = 0;
	fake.again = false;
	fake.most = 0;
	fake.sleep_gpa = ANYWHERE;
	fake.cut = false;
	fake.idle = false;
	fake.wild = false;
	fake.stop_after = 0;
	fake.stop = 0;
	fake.threads = MAX_VCPUS;
	fake.ragged = false;
	fake.memory = NULL;
	fake.populate_error = 0;
	fake.period = 0;
	fake.file_end = size;
	fake.seek_error = 0;
	fake.populates = 0;
	fake.calls = 0;
	fake.sleeps = 0;
	fake.kicks = 0;
	fake.waits = 0;
	fake.created = 0;
	fake.longest = 0;
}

void set_error(uint64_t gpa, int error, long times)
{
	fake.error_gpa = gpa;
	fake.error = error;
	fake.errors = times;
}

static void before_test(void)
{
	fake.complaint = NULL;
}

static const char *after_test(void)
{
	return fake.complaint;
}

int run_with_fake(const struct test *tests, size_t nr)
{
	caller = pthread_self();
	return run_tests(tests, nr, before_test, after_test);
}

/* From here on the helper calls the fake. */
#define ioctl		fake_ioctl
#define lseek		fake_lseek
#define madvise		fake_madvise
#define nanosleep	fake_nanosleep
#define pthread_create	fake_pthread_create
#define pthread_kill	fake_pthread_kill
#include "kvm_pre_fault.c"
#include "kvm_pre_fault_threads.c"
