// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Copyright (C) 2026 The KVM_PRE_FAULT_MEMORY maintainers
 *
 * kvm_pre_fault_areas(), and jobs on threads of the VMM, with fake system
 * calls.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake-ioctl.h"
#include "test.h"

#define NR(areas)	((unsigned int)ARRAY_SIZE(areas))

static int run(unsigned int vcpus, const struct kvm_pre_fault_area *areas,
	       unsigned int nr, struct kvm_pre_fault_opts *opts)
{
	int fds[MAX_VCPUS];

	for (unsigned int i = 0; i < MAX_VCPUS; i++)
		fds[i] = FIRST_FD + i;
	return kvm_pre_fault_areas(fds, vcpus, areas, nr, opts);
}

/* Count the pages from @gpa on that were done once, or return -1. */
static long hits(uint64_t gpa, uint64_t size)
{
	uint64_t first = (gpa - fake.base) / SZ_4K;
	long n = 0;

	for (uint64_t i = first; i < first + size / SZ_4K; i++) {
		if (fake.hits[i] > 1)
			return -1;
		n += fake.hits[i];
	}
	return n;
}

static long hits_of(const struct kvm_pre_fault_area *area)
{
	return hits(area->gpa, area->size);
}

/* With gaps, one that is empty, and in no order */
static const struct kvm_pre_fault_area some[] = {
	{ .gpa = SZ_1G, .size = 2 * SZ_64M },
	{ .gpa = SZ_2M, .size = 0 },
	{ .gpa = 0, .size = 3 * SZ_2M },
	{ .gpa = 3 * SZ_1G, .size = SZ_64M },
};

static void test_areas(void)
{
	const uint64_t total = 3 * SZ_64M + 3 * SZ_2M;

	for (unsigned int vcpus = 1; vcpus <= 7; vcpus += 3) {
		struct kvm_pre_fault_opts opts = { 0 };

		prepare(0, 5 * SZ_1G);
		CHECK_EQUAL(run(vcpus, some, NR(some), &opts), 0);
		for (unsigned int i = 0; i < NR(some); i++)
			CHECK_EQUAL(hits_of(&some[i]), some[i].size / SZ_4K);
		CHECK_EQUAL(hits(0, fake.size), total / SZ_4K);
		CHECK_EQUAL(opts.done, total);
		CHECK_EQUAL(opts.skipped, 0);
		CHECK_EQUAL(opts.area, NR(some));
		CHECK_EQUAL(opts.next, 3 * SZ_1G + SZ_64M);
	}
}

static void test_no_areas(void)
{
	struct kvm_pre_fault_opts opts = { .next = 1, .done = 1, .skipped = 1, .area = 1 };

	prepare(0, SZ_1G);
	CHECK_EQUAL(run(3, NULL, 0, &opts), 0);
	CHECK_EQUAL(fake.calls, 0);
	CHECK_EQUAL(opts.next + opts.done + opts.skipped + opts.area, 0);
	CHECK_EQUAL(run(3, &some[1], 1, NULL), 0);
	CHECK_EQUAL(fake.calls, 0);
}

static void test_error_in_area(void)
{
	for (unsigned int vcpus = 1; vcpus <= 4; vcpus += 3) {
		struct kvm_pre_fault_opts opts = { 0 };

		prepare(0, 5 * SZ_1G);
		set_error(SZ_4K, EFAULT, -1);
		CHECK_EQUAL(run(vcpus, some, NR(some), &opts), -EFAULT);
		CHECK_EQUAL(opts.area, 2);
		CHECK_EQUAL(opts.next, SZ_4K);
		CHECK_EQUAL(hits_of(&some[0]), some[0].size / SZ_4K);
		CHECK_EQUAL(hits(0, SZ_2M), 1);
	}
}

static void test_bad_areas(void)
{
	struct kvm_pre_fault_area bad[] = {
		{ .gpa = 1, .size = SZ_4K },
		{ .gpa = 0, .size = 1 },
		{ .gpa = -SZ_4K, .size = SZ_4K },
		{ .size = SZ_4K, .flags = 4 },
		{ .size = SZ_4K, .flags = KVM_PRE_FAULT_POPULATE, .hva = "odd" + 1 },
		{ .size = SZ_4K, .flags = KVM_PRE_FAULT_SKIP_HOLES, .fd = FILE_FD,
		  .offset = 512 },
	};
	struct kvm_pre_fault_opts kick = { .kick_signal = SIGUSR1 };

	prepare(0, SZ_1G);
	for (unsigned int i = 0; i < NR(bad); i++)
		CHECK_EQUAL(run(2, &bad[i], 1, NULL), -EINVAL);
	bad[0] = (struct kvm_pre_fault_area) { .gpa = 0, .size = -SZ_4K };
	bad[1] = (struct kvm_pre_fault_area) { .gpa = 0, .size = 2 * SZ_4K };
	CHECK_EQUAL(run(2, bad, 2, NULL), -EINVAL);
	CHECK_EQUAL(run(0, some, 1, NULL), -EINVAL);
	signal(SIGUSR1, SIG_DFL);
	CHECK_EQUAL(run(1, some, 1, &kick), -EINVAL);
	CHECK(!kvm_pre_fault_begin(0, some, 1, NULL) && errno == EINVAL);
	CHECK(!kvm_pre_fault_begin(1, some, 1, &kick) && errno == EINVAL);
	CHECK_EQUAL(fake.calls, 0);
}

static void test_populate(void)
{
	/* Nothing reads or writes it. */
	char *const memory = (char *)SZ_2M;
	const struct kvm_pre_fault_area area = {
		.gpa = SZ_1G, .size = 2 * SZ_64M,
		.flags = KVM_PRE_FAULT_POPULATE, .hva = memory,
	};
	struct kvm_pre_fault_opts opts = { 0 };

	for (unsigned int vcpus = 1; vcpus <= 4; vcpus += 3) {
		prepare(SZ_1G, area.size);
		fake.memory = memory;
		/* Calls that do a part populate no memory again. */
		fake.most = SZ_2M / 2;
		CHECK_EQUAL(run(vcpus, &area, 1, &opts), 0);
		CHECK_EQUAL(hits_of(&area), area.size / SZ_4K);
		CHECK_EQUAL(fake.populates, vcpus == 1 ? 2 : 16);
	}

	prepare(SZ_1G, area.size);
	fake.memory = memory;
	fake.populate_error = EFAULT;
	CHECK_EQUAL(run(1, &area, 1, &opts), -EFAULT);
	CHECK_EQUAL(fake.calls, 0);
	CHECK_EQUAL(opts.next, SZ_1G);
}

static void see_progress(void *opaque, uint64_t done, uint64_t total)
{
	uint64_t *last = opaque;

	if (done <= *last || done > total)
		fake.complaint = "progress is not monotonic";
	*last = done;
}

static void test_holes(void)
{
	const struct kvm_pre_fault_area area = {
		.gpa = SZ_1G, .size = SZ_64M, .flags = KVM_PRE_FAULT_SKIP_HOLES,
		.fd = FILE_FD, .offset = SZ_2M,
	};

	for (unsigned int vcpus = 1; vcpus <= 4; vcpus += 3) {
		uint64_t last = 0;
		struct kvm_pre_fault_opts opts = {
			.progress = see_progress, .opaque = &last
		};

		/* Holes begin and end anywhere: pages with some data count as data. */
		prepare(SZ_1G, SZ_64M);
		fake.ragged = true;
		fake.period = 6 * SZ_4K - 1024;
		fake.file_end = 2 * SZ_2M;
		CHECK_EQUAL(run(vcpus, &area, 1, &opts), 0);
		for (uint64_t i = 0; i < SZ_64M / SZ_4K; i++) {
			uint64_t at = SZ_2M + i * SZ_4K, within = at % fake.period;
			bool data = at < fake.file_end &&
				    (within < fake.period / 2 ||
				     within + SZ_4K > fake.period);

			CHECK_EQUAL(fake.hits[i], data);
		}
		CHECK_EQUAL(opts.done, SZ_64M);
		CHECK_EQUAL(last, SZ_64M);
		CHECK_EQUAL(opts.skipped, SZ_64M - hits_of(&area) * SZ_4K);
		CHECK_EQUAL(opts.next, SZ_1G + SZ_64M);
	}
}

static void test_no_holes(void)
{
	const struct kvm_pre_fault_area area = {
		.gpa = 0, .size = SZ_64M, .flags = KVM_PRE_FAULT_SKIP_HOLES, .fd = FILE_FD,
	};
	struct kvm_pre_fault_opts opts = { 0 };

	prepare(0, SZ_64M);
	CHECK_EQUAL(run(2, &area, 1, &opts), 0);
	CHECK_EQUAL(opts.skipped, 0);

	/* If lseek() can't tell holes, all is done. */
	prepare(0, SZ_64M);
	fake.seek_error = EINVAL;
	CHECK_EQUAL(run(2, &area, 1, &opts), 0);
	CHECK_EQUAL(hits_of(&area), SZ_64M / SZ_4K);

	/* All of it is a hole. */
	prepare(0, SZ_64M);
	fake.file_end = 0;
	CHECK_EQUAL(run(2, &area, 1, &opts), 0);
	CHECK_EQUAL(fake.calls, 0);
	CHECK_EQUAL(opts.skipped, SZ_64M);
}

struct vcpu_thread {
	struct kvm_pre_fault_job *job;
	pthread_t thread;
	int fd;
	int result;
};

static void *vcpu_main(void *arg)
{
	struct vcpu_thread *vcpu = arg;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	vcpu->result = kvm_pre_fault_work(vcpu->job, vcpu->fd);
	return NULL;
}

static void start_vcpus(struct kvm_pre_fault_job *job, struct vcpu_thread *vcpus,
			unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		vcpus[i] = (struct vcpu_thread) { .job = job, .fd = FIRST_FD + (int)i };
		pthread_create(&vcpus[i].thread, NULL, vcpu_main, &vcpus[i]);
	}
}

static void test_own_threads(void)
{
	struct vcpu_thread vcpus[4];
	uint64_t last = 0;
	struct kvm_pre_fault_opts opts = { .progress = see_progress, .opaque = &last };
	struct kvm_pre_fault_job *job;

	prepare(0, 5 * SZ_1G);
	job = kvm_pre_fault_begin(4, some, NR(some), &opts);
	CHECK(job);
	CHECK_EQUAL(kvm_pre_fault_vcpus(job), 4);
	start_vcpus(job, vcpus, 4);
	for (unsigned int i = 0; i < 4; i++) {
		pthread_join(vcpus[i].thread, NULL);
		CHECK_EQUAL(vcpus[i].result, 0);
	}
	CHECK_EQUAL(kvm_pre_fault_end(job), 0);
	CHECK_EQUAL(hits(0, fake.size), (3 * SZ_64M + 3 * SZ_2M) / SZ_4K);
	CHECK_EQUAL(fake.created, 0);
	CHECK_EQUAL(last, opts.done);
}

/* A job that nobody works on, or that one thread of two does */
static void test_lonely(void)
{
	struct kvm_pre_fault_opts opts = { 0 };
	struct kvm_pre_fault_job *job;

	prepare(0, 5 * SZ_1G);
	job = kvm_pre_fault_begin(2, some, NR(some), &opts);
	CHECK(job);
	CHECK_EQUAL(kvm_pre_fault_end(job), -ECANCELED);
	CHECK_EQUAL(opts.next, SZ_1G);
	CHECK_EQUAL(opts.area, 0);
	CHECK_EQUAL(fake.calls, 0);

	job = kvm_pre_fault_begin(2, &some[2], 1, &opts);
	CHECK(job);
	CHECK_EQUAL(kvm_pre_fault_vcpus(job), 2);
	CHECK_EQUAL(kvm_pre_fault_work(job, FIRST_FD), 0);
	CHECK_EQUAL(kvm_pre_fault_end(job), 0);
	CHECK_EQUAL(hits_of(&some[2]), some[2].size / SZ_4K);
}

static void handler(int signo)
{
	(void)signo;
}

static long nr_sleeps(void)
{
	long sleeps;

	pthread_mutex_lock(&fake.lock);
	sleeps = fake.sleeps;
	pthread_mutex_unlock(&fake.lock);
	return sleeps;
}

/* A VMM whose thread sleeps in a call sets @stop, and kicks until it is back. */
static void test_kick_own_thread(void)
{
	struct sigaction action = { .sa_handler = handler };
	struct kvm_pre_fault_opts opts = { .stop = &fake.stop };
	struct kvm_pre_fault_job *job;
	struct vcpu_thread vcpu;

	sigaction(SIGUSR1, &action, NULL);
	prepare(0, SZ_1G);
	fake.sleep_gpa = SZ_4K;
	job = kvm_pre_fault_begin(1, &(struct kvm_pre_fault_area) { .size = SZ_1G }, 1, &opts);
	CHECK(job);
	start_vcpus(job, &vcpu, 1);
	while (!nr_sleeps())
		usleep(1000);
	/* A thread must not be kicked while its work is wanted. */
	kvm_pre_fault_kick(job, SIGUSR1);
	CHECK_EQUAL(fake.kicks, 0);
	__atomic_store_n(&fake.stop, 1, __ATOMIC_RELAXED);
	while (pthread_tryjoin_np(vcpu.thread, NULL)) {
		kvm_pre_fault_kick(job, SIGUSR1);
		usleep(1000);
	}
	CHECK(fake.kicks);
	CHECK_EQUAL(vcpu.result, -ECANCELED);
	CHECK_EQUAL(kvm_pre_fault_end(job), -ECANCELED);
	CHECK_EQUAL(opts.next, 0);
	signal(SIGUSR1, SIG_DFL);
}

/* Without @stop, an error is the only reason for a kick. */
static void test_kick_after_error(void)
{
	const struct kvm_pre_fault_area area = { .size = SZ_1G };
	struct sigaction action = { .sa_handler = handler };
	struct kvm_pre_fault_opts opts = { .kick_signal = SIGUSR1 };

	sigaction(SIGUSR1, &action, NULL);
	prepare(0, SZ_1G);
	fake.sleep_gpa = 2 * SZ_64M + SZ_4K;
	set_error(SZ_64M, EFAULT, -1);
	CHECK_EQUAL(run(4, &area, 1, &opts), -EFAULT);
	CHECK_EQUAL(opts.next, SZ_64M);
	CHECK(fake.sleeps);
	CHECK(fake.kicks);
	signal(SIGUSR1, SIG_DFL);
}

static const struct test tests[] = {
	{ "areas", test_areas },
	{ "no_areas", test_no_areas },
	{ "error_in_area", test_error_in_area },
	{ "bad_areas", test_bad_areas },
	{ "populate", test_populate },
	{ "holes", test_holes },
	{ "no_holes", test_no_holes },
	{ "own_threads", test_own_threads },
	{ "lonely", test_lonely },
	{ "kick_own_thread", test_kick_own_thread },
	{ "kick_after_error", test_kick_after_error },
};

int main(void)
{
	return run_with_fake(tests, ARRAY_SIZE(tests));
}
