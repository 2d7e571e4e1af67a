// SPDX-License-Identifier: GPL-2.0-only
/*
 * EAGAIN, from a memslot that is on its way out: a pre-fault that sleeps in a
 * userfaultfd keeps the deletion from coming to its end, for as long as is
 * wanted.
 */
#define _GNU_SOURCE
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>

#include "fuzz.h"

#define UFFD_PAGE	(FZ_OWN + 1)
#define SECONDS		20

/* They exist from the start: a new thread's stack could end up in a hole. */
static struct helper {
	pthread_t thread;
	sem_t go, done;
	void (*fn)(void);
} sleeper, deleter;

static int uffd = -1;
static struct fz_slot *victim;
static bool asleep;
static int sleeper_err, deleter_err;
static uint64_t sleeper_left;

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
	deleter_err = fz_set_slot(victim, 0);
}

static void wait_for(struct helper *helper)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += SECONDS;
	while (sem_timedwait(&helper->done, &end))
		FZ_ASSERT(errno == EINTR, "a thread did not come back");
}

void fz_again_init(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range.start = (uintptr_t)fz_host.mem + UFFD_PAGE * PAGE_SIZE,
		.range.len = PAGE_SIZE,
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	sigset_t all, old;

	/* It is only missing when there is somebody to serve it. */
	fz_host.mem[UFFD_PAGE * PAGE_SIZE] = 0;
	uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (uffd < 0)
		return;
	if (ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &reg)) {
		close(uffd);
		uffd = -1;
		return;
	}

	/* Signals are for those who call. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	helper_start(&sleeper, sleep_in_call);
	helper_start(&deleter, delete_victim);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

bool fz_again_possible(void)
{
	return uffd >= 0;
}

/* Every task that faults there waits for the handler. */
bool fz_again_forbids(const struct kvm_pre_fault_memory *range)
{
	return asleep && FZ_UFFD_GPA - range->gpa < range->size;
}

void fz_again_episode(void)
{
	struct uffdio_zeropage zero = {
		.range.start = (uintptr_t)fz_host.mem + UFFD_PAGE * PAGE_SIZE,
		.range.len = PAGE_SIZE,
	};
	struct pollfd event = { .fd = uffd, .events = POLLIN };
	double end = pf_now() + SECONDS;
	struct uffd_msg msg;
	unsigned int i;

	victim = fz_random_slot();
	if (uffd < 0 || victim - fz_vm.slots >= FZ_USER_SLOTS ||
	    victim->as != fz_vm.vcpus[FZ_RUNNER].as)
		return;

	fz_note("slot %u:%u is being deleted", victim->as, victim->id);
	FZ_ASSERT(!madvise(fz_host.mem + UFFD_PAGE * PAGE_SIZE, PAGE_SIZE,
			   MADV_DONTNEED), "MADV_DONTNEED");
	fz_host_gone(UFFD_PAGE, 1);

	asleep = true;
	sem_post(&sleeper.go);
	FZ_ASSERT(poll(&event, 1, SECONDS * 1000) == 1 &&
		  read(uffd, &msg, sizeof(msg)) == sizeof(msg),
		  "the pre-fault does not wait for the userfaultfd");
	sem_post(&deleter.go);
	while (!fz_call_may_be_again(victim)) {
		FZ_ASSERT(pf_now() < end, "no EAGAIN from a slot that goes");
		usleep(100);
	}

	victim->invalid = true;
	for (i = 0; i < 8; i++)
		fz_call_random(fz_below(4) ? victim : NULL, false);

	FZ_ASSERT(!ioctl(uffd, UFFDIO_ZEROPAGE, &zero), "UFFDIO_ZEROPAGE");
	wait_for(&sleeper);
	asleep = false;
	wait_for(&deleter);
	FZ_ASSERT(!sleeper_err && !sleeper_left && !deleter_err,
		  "errno %d from the pre-fault with %#lx left, %d from the deletion",
		  sleeper_err, sleeper_left, deleter_err);
	fz_slot_deleted(victim);
}
