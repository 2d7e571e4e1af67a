// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Copyright (C) 2026 The KVM_PRE_FAULT_MEMORY maintainers
 *
 * Test kvm_pre_fault_range() with a fake ioctl.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "fake-ioctl.h"
#include "test.h"

/* A progress callback and what it has seen */
struct seen {
	uint64_t done, total;
	long calls, stop_at;
	bool slow;
	const char *wrong;
};

static void see_progress(void *opaque, uint64_t done, uint64_t total)
{
	struct seen *seen = opaque;

	if (!pthread_equal(pthread_self(), caller))
		seen->wrong = "called in another thread";
	if (done <= seen->done || done > total)
		seen->wrong = "it is not monotonic";
	seen->done = done;
	seen->total = total;
	if (seen->slow)
		usleep(50000);
	if (++seen->calls == seen->stop_at)
		__atomic_store_n(&fake.stop, 1, __ATOMIC_RELAXED);
}

static int run(unsigned int vcpus, struct kvm_pre_fault_opts *opts)
{
	int fds[MAX_VCPUS];

	for (unsigned int i = 0; i < MAX_VCPUS; i++)
		fds[i] = FIRST_FD + i;
	return kvm_pre_fault_range(fds, vcpus, fake.base, fake.size, opts);
}

/* The end of the pages that are done once, all of those before as well */
static uint64_t covered(void)
{
	uint64_t i = 0;

	while (i < fake.size / SZ_4K && fake.hits[i] == 1)
		i++;
	return fake.base + i * SZ_4K;
}

static unsigned int vcpus_used(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < MAX_VCPUS; i++)
		n += fake.used[i];
	return n;
}

static void run_all(unsigned int vcpus, uint64_t base, uint64_t size)
{
	struct seen seen = { 0 };
	struct kvm_pre_fault_opts opts = { .progress = see_progress, .opaque = &seen };

	prepare(base, size);
	CHECK_EQUAL(run(vcpus, &opts), 0);
	CHECK_EQUAL(covered(), base + size);
	CHECK_EQUAL(opts.next, base + size);
	CHECK_EQUAL(opts.done, size);
	CHECK_EQUAL(seen.done, size);
	CHECK_EQUAL(seen.total, size);
	CHECK(!seen.wrong);
}

static void test_one_vcpu(void)
{
	run_all(1, SZ_1G, SZ_1G + SZ_64M);
	CHECK_EQUAL(fake.created, 0);
	CHECK(pthread_equal(fake.thread[0], caller));
	CHECK_EQUAL(fake.longest, SZ_64M);
	CHECK_EQUAL(fake.calls, 17);
}

static void test_many_vcpus(void)
{
	run_all(4, 4 * SZ_1G, 5 * SZ_1G);
	CHECK_EQUAL(fake.created, 4);
	CHECK_EQUAL(fake.longest, SZ_64M);
	CHECK_EQUAL(fake.calls, 80);
}

static void test_boundaries(void)
{
	static const struct {
		uint64_t base, size;
	} ranges[] = {
		{ 0, SZ_4K },
		{ 0, SZ_2M },
		{ SZ_2M - SZ_4K, 2 * SZ_4K },
		{ SZ_4K, SZ_2M },
		{ SZ_2M + SZ_4K, 5 * SZ_2M },
		{ SZ_64M - SZ_4K, 2 * SZ_64M + 2 * SZ_4K },
		{ SZ_1G - SZ_4K, SZ_4K + SZ_1G },
		{ SZ_1G - SZ_2M, 2 * SZ_2M },
		{ 3 * SZ_1G - 3 * SZ_4K, 2 * SZ_1G + 7 * SZ_4K },
		{ 1ULL << 51, SZ_64M + SZ_4K },
		{ -(SZ_64M + SZ_4K), SZ_64M },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(ranges); i++) {
		for (unsigned int vcpus = 1; vcpus <= 16; vcpus += 5)
			run_all(vcpus, ranges[i].base, ranges[i].size);
	}
}

static void test_more_vcpus_than_pieces(void)
{
	run_all(MAX_VCPUS, SZ_2M, 3 * SZ_2M);
	CHECK_EQUAL(fake.created, 3);
	run_all(MAX_VCPUS, SZ_2M - SZ_4K, 2 * SZ_4K);
	CHECK_EQUAL(fake.created, 2);
	run_all(MAX_VCPUS, SZ_2M, SZ_4K);
	CHECK_EQUAL(fake.created, 0);
}

static void test_partial_progress(void)
{
	prepare(0, SZ_64M);
	fake.most = 7 * SZ_4K;
	CHECK_EQUAL(run(3, NULL), 0);
	CHECK_EQUAL(covered(), SZ_64M);
	CHECK(fake.calls >= (long)(SZ_64M / fake.most));
}

static void test_no_threads(void)
{
	for (unsigned int threads = 0; threads < 4; threads++) {
		prepare(0, SZ_1G);
		fake.threads = threads;
		CHECK_EQUAL(run(4, NULL), 0);
		CHECK_EQUAL(covered(), SZ_1G);
		CHECK_EQUAL(fake.created, threads);
		CHECK(vcpus_used() <= (threads ? threads : 1));
	}
}

/* Progress during the callback is reported, too. */
static void test_slow_progress(void)
{
	struct seen seen = { .slow = true };
	struct kvm_pre_fault_opts opts = { .progress = see_progress, .opaque = &seen };

	prepare(0, 5 * SZ_1G);
	CHECK_EQUAL(run(4, &opts), 0);
	CHECK_EQUAL(seen.done, fake.size);
	CHECK(seen.calls < 80);
	CHECK(!seen.wrong);
}

static void test_size_0(void)
{
	struct seen seen = { 0 };
	struct kvm_pre_fault_opts opts = {
		.progress = see_progress, .opaque = &seen, .next = 1, .done = 1
	};

	prepare(SZ_1G, 0);
	CHECK_EQUAL(run(4, &opts), 0);
	CHECK_EQUAL(fake.calls, 0);
	CHECK_EQUAL(seen.calls, 0);
	CHECK_EQUAL(opts.next, SZ_1G);
	CHECK_EQUAL(opts.done, 0);
}

static void test_bad_arguments(void)
{
	struct kvm_pre_fault_opts kick = { .kick_signal = SIGWINCH };
	struct kvm_pre_fault_opts none = { .kick_signal = 1000 };

	prepare(0, SZ_2M);
	CHECK_EQUAL(run(0, NULL), -EINVAL);
	CHECK_EQUAL(run(1, &none), -EINVAL);
	CHECK_EQUAL(run(1, &kick), -EINVAL);
	signal(SIGWINCH, SIG_IGN);
	CHECK_EQUAL(run(1, &kick), -EINVAL);
	signal(SIGWINCH, SIG_DFL);
	prepare(-SZ_2M, SZ_2M);
	CHECK_EQUAL(run(1, NULL), -EINVAL);
	prepare(-SZ_2M, 2 * SZ_2M);
	CHECK_EQUAL(run(1, NULL), -EINVAL);
	prepare(SZ_2M, -SZ_4K);
	CHECK_EQUAL(run(1, NULL), -EINVAL);
	prepare(1, SZ_2M);
	CHECK_EQUAL(run(1, NULL), -EINVAL);
	prepare(0, SZ_2M + 1);
	CHECK_EQUAL(run(1, NULL), -EINVAL);
	CHECK_EQUAL(fake.calls, 0);
}

static void test_eintr(void)
{
	prepare(0, SZ_64M);
	set_error(ANYWHERE, EINTR, 1000);
	CHECK_EQUAL(run(2, NULL), 0);
	CHECK_EQUAL(fake.errors, 0);
	CHECK_EQUAL(fake.waits, 0);
	CHECK_EQUAL(covered(), SZ_64M);
}

static void test_eagain(void)
{
	prepare(0, SZ_64M);
	set_error(SZ_2M + SZ_4K, EAGAIN, 900);
	CHECK_EQUAL(run(2, NULL), 0);
	CHECK_EQUAL(fake.errors, 0);
	CHECK_EQUAL(fake.waits, 900000);
	CHECK_EQUAL(covered(), SZ_64M);
}

static void test_patience_is_per_page(void)
{
	prepare(0, 3 * SZ_4K);
	fake.most = SZ_4K;
	fake.again = true;
	set_error(ANYWHERE, EAGAIN, 900);
	CHECK_EQUAL(run(1, NULL), 0);
	CHECK_EQUAL(fake.waits, 2700000);
	CHECK_EQUAL(covered(), 3 * SZ_4K);
}

static void test_patience_ends(void)
{
	struct kvm_pre_fault_opts opts = { 0 };

	for (unsigned int cut = 0; cut < 2; cut++) {
		prepare(0, SZ_64M);
		fake.cut = cut;
		set_error(SZ_2M, EAGAIN, -1);
		CHECK_EQUAL(run(2, &opts), -EAGAIN);
		CHECK_EQUAL(opts.next, SZ_2M);
		CHECK_EQUAL(fake.waits, 1000000);
	}

	prepare(0, SZ_64M);
	set_error(SZ_2M, EINTR, -1);
	CHECK_EQUAL(run(2, &opts), -EINTR);
	CHECK_EQUAL(opts.next, SZ_2M);
}

/* Also when it comes again once the memory before it has been done */
static void run_error(unsigned int vcpus, uint64_t gpa, int error)
{
	struct kvm_pre_fault_opts opts = { 0 };

	prepare(SZ_2M, 5 * SZ_64M + SZ_4K);
	set_error(gpa, error, -1);
	CHECK_EQUAL(run(vcpus, &opts), -error);
	CHECK_EQUAL(opts.next, gpa);
	CHECK_EQUAL(covered(), gpa);
	CHECK(opts.done >= gpa - SZ_2M);
	CHECK(opts.done < fake.size);
	CHECK_EQUAL(fake.errors, -2);
	CHECK_EQUAL(fake.waits, 0);
}

static void test_fatal_errors(void)
{
	static const int errors[] = {
		EFAULT, EHWPOISON, EINVAL, EIO, ENOENT, ENOEXEC, ENOMEM, ENOSPC,
		EOPNOTSUPP, EBADF, ENOTTY, EPERM,
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(errors); i++) {
		run_error(1, SZ_2M, errors[i]);
		run_error(1, SZ_64M + 7 * SZ_4K, errors[i]);
		run_error(4, SZ_2M, errors[i]);
		run_error(4, SZ_64M + 7 * SZ_4K, errors[i]);
		run_error(4, SZ_2M + 5 * SZ_64M, errors[i]);
	}
}

/* Of two that fail the lower one counts, and what is below is done. */
static void test_lowest_error(void)
{
	struct kvm_pre_fault_opts opts = { 0 };

	for (unsigned int i = 0; i < 50; i++) {
		prepare(0, 5 * SZ_1G);
		set_error(ANYWHERE, EFAULT, 3);
		CHECK_EQUAL(run(4, &opts), -EFAULT);
		CHECK_EQUAL(opts.next, covered());
		CHECK_EQUAL(opts.next % SZ_64M, 0);
	}
}

/* As the manual page has it */
static void test_go_on_after_error(void)
{
	struct kvm_pre_fault_opts opts = { 0 };
	uint64_t gpa = 4 * SZ_64M + SZ_4K;

	prepare(SZ_64M, SZ_1G);
	set_error(gpa, EHWPOISON, -1);
	CHECK_EQUAL(run(4, &opts), -EHWPOISON);
	CHECK_EQUAL(opts.next, gpa);

	prepare(gpa + SZ_4K, SZ_64M + SZ_1G - gpa - SZ_4K);
	CHECK_EQUAL(run(4, &opts), 0);
	CHECK_EQUAL(covered(), SZ_64M + SZ_1G);
}

static void test_hole(void)
{
	struct kvm_pre_fault_opts opts = { 0 };

	prepare(0, 4 * SZ_1G);
	set_error(3 * SZ_1G, ENOENT, -1);
	CHECK_EQUAL(run(4, &opts), -ENOENT);
	CHECK_EQUAL(opts.next, 3 * SZ_1G);
	CHECK_EQUAL(covered(), 3 * SZ_1G);
}

static void test_no_progress(void)
{
	struct kvm_pre_fault_opts opts = { 0 };

	prepare(0, SZ_64M);
	fake.idle = true;
	CHECK_EQUAL(run(2, &opts), -EPROTO);
	CHECK_EQUAL(opts.next, 0);
	fake.idle = false;
	fake.wild = true;
	CHECK_EQUAL(run(2, &opts), -EPROTO);
	CHECK_EQUAL(opts.next, 0);
}

static void test_cancel(void)
{
	struct kvm_pre_fault_opts opts = { .stop = &fake.stop };

	for (unsigned int vcpus = 1; vcpus <= 4; vcpus += 3) {
		prepare(0, 5 * SZ_1G);
		fake.stop_after = 30;
		CHECK_EQUAL(run(vcpus, &opts), -ECANCELED);
		CHECK(fake.calls < 30 + vcpus);
		CHECK_EQUAL(opts.next, covered());
		CHECK(opts.next && opts.next < fake.size);
		CHECK_EQUAL(opts.done, fake.calls * SZ_64M);

		/* Before it begins */
		prepare(0, SZ_1G);
		fake.stop = 1;
		CHECK_EQUAL(run(vcpus, &opts), -ECANCELED);
		CHECK_EQUAL(fake.calls, 0);
		CHECK_EQUAL(opts.next, 0);

		/* Too late */
		prepare(0, SZ_64M * vcpus);
		fake.stop_after = fake.size / (vcpus == 1 ? SZ_64M : SZ_64M / 4);
		CHECK_EQUAL(run(vcpus, &opts), 0);
		CHECK_EQUAL(opts.next, fake.size);
	}
}

static void test_cancel_retries(void)
{
	struct kvm_pre_fault_opts opts = { .stop = &fake.stop };

	prepare(0, SZ_64M);
	set_error(SZ_4K, EAGAIN, -1);
	fake.stop_after = 100;
	CHECK_EQUAL(run(1, &opts), -ECANCELED);
	CHECK_EQUAL(fake.calls, 100);
	CHECK_EQUAL(opts.next, SZ_4K);
}

static void test_cancel_by_progress(void)
{
	struct seen seen = { .stop_at = 3 };
	struct kvm_pre_fault_opts opts = {
		.progress = see_progress, .opaque = &seen, .stop = &fake.stop
	};

	prepare(0, SZ_1G);
	CHECK_EQUAL(run(1, &opts), -ECANCELED);
	CHECK_EQUAL(fake.calls, 3);
	CHECK_EQUAL(opts.next, 3 * SZ_64M);
	CHECK(!seen.wrong);
}

static void handler(int signo)
{
	(void)signo;
}

static void run_kick(unsigned int vcpus, uint64_t sleep_gpa, uint64_t error_gpa,
		     uint64_t most, bool blocked)
{
	struct kvm_pre_fault_opts opts = { .stop = &fake.stop, .kick_signal = SIGUSR1 };
	struct sigaction action = { .sa_handler = handler };
	sigset_t mask, pending, old;

	sigaction(SIGUSR1, &action, NULL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	pthread_sigmask(blocked ? SIG_BLOCK : SIG_UNBLOCK, &mask, NULL);
	prepare(0, SZ_1G);
	fake.sleep_gpa = sleep_gpa;
	fake.most = most;
	if (error_gpa)
		set_error(error_gpa, EFAULT, -1);
	else
		fake.stop_after = 5;
	CHECK_EQUAL(run(vcpus, &opts), error_gpa ? -EFAULT : -ECANCELED);
	CHECK_EQUAL(opts.next, covered());
	CHECK(fake.sleeps);
	CHECK(fake.kicks);

	/* Nothing of it is left in the thread of the caller. */
	sigpending(&pending);
	CHECK(!sigismember(&pending, SIGUSR1));
	pthread_sigmask(SIG_UNBLOCK, &mask, &old);
	CHECK_EQUAL(sigismember(&old, SIGUSR1), blocked);
	CHECK(!sigismember(&old, SIGALRM));
	signal(SIGUSR1, SIG_DFL);
}

static void test_kick_sleeping(void)
{
	run_kick(1, 4 * SZ_64M + SZ_4K, 0, 0, false);
	run_kick(1, 4 * SZ_64M + SZ_4K, 0, 0, true);
	run_kick(4, SZ_4K, 0, 0, true);
	/* One that sleeps above an error is woken up, too. */
	run_kick(4, 2 * SZ_64M + SZ_4K, SZ_64M, 0, false);
}

/* Progress below the error causes no kicks, nor puts off those above. */
static void test_kick_amid_progress(void)
{
	run_kick(4, 2 * SZ_64M + SZ_4K, SZ_64M, SZ_64M / 1000 / SZ_4K * SZ_4K, false);
	CHECK(fake.calls > 1000);
	CHECK(fake.woken < 500);
	CHECK(fake.kicks < 50);
}

static void test_kick_no_thread(void)
{
	struct kvm_pre_fault_opts opts = { .kick_signal = SIGUSR1 };

	signal(SIGUSR1, handler);
	for (unsigned int vcpus = 1; vcpus <= 4; vcpus += 3) {
		prepare(SZ_1G, SZ_1G);
		fake.threads = 0;
		CHECK_EQUAL(run(vcpus, &opts), -EAGAIN);
		CHECK_EQUAL(fake.calls, 0);
		CHECK_EQUAL(opts.next, SZ_1G);
		CHECK_EQUAL(opts.done, 0);
	}
	fake.threads = 1;
	CHECK_EQUAL(run(4, &opts), 0);
	CHECK_EQUAL(covered(), 2 * SZ_1G);
	signal(SIGUSR1, SIG_DFL);
}

static const struct test tests[] = {
	{ "one_vcpu", test_one_vcpu },
	{ "many_vcpus", test_many_vcpus },
	{ "boundaries", test_boundaries },
	{ "more_vcpus_than_pieces", test_more_vcpus_than_pieces },
	{ "partial_progress", test_partial_progress },
	{ "no_threads", test_no_threads },
	{ "slow_progress", test_slow_progress },
	{ "size_0", test_size_0 },
	{ "bad_arguments", test_bad_arguments },
	{ "eintr", test_eintr },
	{ "eagain", test_eagain },
	{ "patience_is_per_page", test_patience_is_per_page },
	{ "patience_ends", test_patience_ends },
	{ "fatal_errors", test_fatal_errors },
	{ "lowest_error", test_lowest_error },
	{ "go_on_after_error", test_go_on_after_error },
	{ "hole", test_hole },
	{ "no_progress", test_no_progress },
	{ "cancel", test_cancel },
	{ "cancel_retries", test_cancel_retries },
	{ "cancel_by_progress", test_cancel_by_progress },
	{ "kick_sleeping", test_kick_sleeping },
	{ "kick_amid_progress", test_kick_amid_progress },
	{ "kick_no_thread", test_kick_no_thread },
};

int main(void)
{
	return run_with_fake(tests, ARRAY_SIZE(tests));
}
