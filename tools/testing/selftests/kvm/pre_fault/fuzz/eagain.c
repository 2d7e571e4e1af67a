// SPDX-License-Identifier: GPL-2.0-only
/*
 * EAGAIN for a memslot that is being deleted: a pre-fault that sleeps in a
 * userfaultfd delays the deletion for as long as needed.
 */
#define _GNU_SOURCE
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>

#include "fuzz.h"

#define UFFD_PAGE	(FZ_OWN + 1)
#define SECONDS		20

/* Start these at once: a new thread's stack could be mapped into a hole. */
static struct helper {
	pthread_t thread;
	sem_t go, done;
	void (*fn)(void);
} sleeper, deleter;

static int uffd = -1;
static struct fz_slot *victim;
static int sleeper_err, deleter_err;
static uint64_t sleeper_left;

static void *uffd_mem(void)
{
	return fz_host.mem + UFFD_PAGE * PAGE_SIZE;
}

static void *helper_main(void *arg)
{
	struct helper *helper = arg;

	for (;;) {
		sem_wait(&helper->go);
		helper->fn();
		sem_post(&helper->done);
	}

	return NULL;
}

static void helper_start(struct helper *helper, void (*fn)(void))
{
	helper->fn = fn;
	sem_init(&helper->go, 0, 0);
	sem_init(&helper->done, 0, 0);
	helper->thread = pf_thread(helper_main, helper);
}

static void sleep_in_call(void)
{
	struct kvm_pre_fault_memory range = {
		.gpa = FZ_UFFD_GPA,
		.size = PAGE_SIZE,
	};

	sleeper_err = ioctl(fz_vm.vcpus[FZ_BLOCKER].fd, KVM_PRE_FAULT_MEMORY,
			    &range) ? errno : 0;
	sleeper_left = range.size;
}

static void delete_victim(void)
{
	deleter_err = __fz_slot_set(victim, 0);
}

static void wait_for(struct helper *helper)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += SECONDS;
	while (sem_timedwait(&helper->done, &end))
		FZ_ASSERT(errno == EINTR, "a thread did not come back");
}

void fz_eagain_init(void)
{
	sigset_t all, old;

	/* Populate the page, which must be missing only while a thread serves it. */
	*(uint8_t *)uffd_mem() = 0;
	uffd = __pf_uffd_open(NULL);
	if (uffd < 0)
		return;
	if (__pf_uffd_register(uffd, uffd_mem(), PAGE_SIZE,
			       UFFDIO_REGISTER_MODE_MISSING)) {
		close(uffd);
		uffd = -1;
		return;
	}

	/* Only the thread that makes the random calls gets signals. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	helper_start(&sleeper, sleep_in_call);
	helper_start(&deleter, delete_victim);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

bool fz_eagain_possible(void)
{
	return uffd >= 0;
}

void fz_eagain_episode(void)
{
	double end = pf_now() + SECONDS;
	struct fz_answer sleeper_pages = {};
	unsigned int i;

	victim = fz_random_slot();
	if (uffd < 0 || victim - fz_vm.slots >= FZ_USER_SLOTS ||
	    victim->as != fz_vm.vcpus[FZ_RUNNER].as)
		return;

	fz_note("slot %u:%u is being deleted", victim->as, victim->id);
	FZ_ASSERT(!madvise(uffd_mem(), PAGE_SIZE, MADV_DONTNEED),
		  "MADV_DONTNEED");
	fz_host_gone(UFFD_PAGE, 1);

	/* Keep random calls from this page, where they would wait for the handler. */
	fz_call_forbid(FZ_UFFD_GPA);
	sem_post(&sleeper.go);
	FZ_ASSERT(pf_uffd_poll(uffd, SECONDS * 1000),
		  "the pre-fault does not wait for the userfaultfd");
	victim->doomed = true;
	sem_post(&deleter.go);
	while (!fz_call_may_be_eagain(victim)) {
		FZ_ASSERT(pf_now() < end, "no EAGAIN from a slot that is being deleted");
		usleep(100);
	}

	victim->invalid = true;
	for (i = 0; i < 8; i++)
		fz_call_random(fz_below(4) ? victim : NULL, false);

	FZ_ASSERT(!pf_uffd_zeropage(uffd, uffd_mem(), PAGE_SIZE),
		  "UFFDIO_ZEROPAGE");
	wait_for(&sleeper);
	fz_call_forbid(-1ul);
	wait_for(&deleter);
	FZ_ASSERT(!sleeper_err && !sleeper_left && !deleter_err,
		  "errno %d from the pre-fault with %#lx left, %d from the deletion",
		  sleeper_err, sleeper_left, deleter_err);
	fz_mapped(0, FZ_UFFD_GPA, PAGE_SIZE, &sleeper_pages);
	fz_slot_deleted(victim);
}
