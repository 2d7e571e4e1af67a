// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls of KVM_PRE_FAULT_MEMORY: a checked call, a thread that calls in a loop, and
 * vCPUs that call at the same time.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>

#include "../pre_fault.h"

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

/* Check one call of the loop, and count it. */
static void loop_count(struct pf_loop *loop, const struct kvm_pre_fault_memory *old,
		       const struct kvm_pre_fault_memory *range, int err)
{
	if (!err) {
		TEST_ASSERT(range->size < old->size, "success with nothing done");
		TEST_ASSERT(!range->size || loop->errs[0], "%#llx left",
			    range->size);
		WRITE_ONCE(loop->done, loop->done + 1);
		return;
	}

	TEST_ASSERT(range->gpa == old->gpa && range->size == old->size,
		    "errno %d with %#llx done", err, range->gpa - old->gpa);
	TEST_ASSERT(err == loop->errs[0] || err == loop->errs[1],
		    "errno %d (%s) at gpa %#llx", err, strerror(err), range->gpa);
	loop->failed[err != loop->errs[0]]++;
}

static void *loop_fn(void *arg)
{
	struct sched_param normal = {};
	struct kvm_pre_fault_memory range = {}, old;
	struct pf_loop *loop = arg;
	int err;

	/* The starting thread may have a real-time policy. */
	TEST_ASSERT(!sched_setscheduler(0, SCHED_OTHER, &normal),
		    "sched_setscheduler()");
	if (loop->pinned)
		pf_pin(loop->cpu);
	WRITE_ONCE(loop->started, true);
	while (!READ_ONCE(loop->stop)) {
		if (!loop->resume || !range.size) {
			range.gpa = loop->gpa;
			range.size = loop->size;
		}
		old = range;
		err = pf_call(loop->vcpu, &range);
		loop->ended = pf_now();
		loop_count(loop, &old, &range, err);
		WRITE_ONCE(loop->calls, loop->calls + 1);
	}
	return NULL;
}

void pf_loop_start(struct pf_loop *loop)
{
	pf_catch(SIGUSR1);
	loop->started = false;
	loop->stop = false;
	loop->thread = pf_thread(loop_fn, loop);
	while (!READ_ONCE(loop->started))
		usleep(50);
}

void pf_loop_stop(struct pf_loop *loop)
{
	WRITE_ONCE(loop->stop, true);
	/* Interrupt a call of a long range. */
	if (loop->resume)
		pthread_kill(loop->thread, SIGUSR1);
	pf_join(loop->thread);
}

void pf_loop_report(struct pf_loop *loop, unsigned int rounds)
{
	unsigned int i;

	pr_info("%u rounds, %lu calls: %lu done\n", rounds, loop->calls, loop->done);
	for (i = 0; i < ARRAY_SIZE(loop->errs) && loop->errs[i]; i++)
		pr_info("%s: %lu calls\n", strerror(loop->errs[i]), loop->failed[i]);
	TEST_ASSERT(loop->calls, "not a single call");
}

void pf_loop_let_in(struct pf_loop *loop, const unsigned long *counter,
		    double seconds)
{
	double end = pf_now() + seconds * pf_slowness;
	unsigned long old = READ_ONCE(*counter);

	while (READ_ONCE(*counter) == old && pf_now() < end)
		sched_yield();
}

static void *mapper_fn(void *arg)
{
	struct pf_mapper *m = arg;

	pthread_barrier_wait(m->barrier);
	pf_map(m->vcpu, m->gpa, m->size);
	return NULL;
}

void pf_mappers_run(struct pf_mapper *mappers, unsigned int nr,
		    void (*meanwhile)(void *arg), void *arg)
{
	pthread_barrier_t barrier;
	unsigned int i;

	pthread_barrier_init(&barrier, NULL, nr + !!meanwhile);
	for (i = 0; i < nr; i++) {
		mappers[i].barrier = &barrier;
		mappers[i].thread = pf_thread(mapper_fn, &mappers[i]);
	}
	if (meanwhile) {
		pthread_barrier_wait(&barrier);
		meanwhile(arg);
	}
	for (i = 0; i < nr; i++)
		pf_join(mappers[i].thread);
	pthread_barrier_destroy(&barrier);
}
