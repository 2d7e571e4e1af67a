// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Copyright (C) 2026 The KVM_PRE_FAULT_MEMORY maintainers
 *
 * KVM_PRE_FAULT_MEMORY on a list of areas, with a thread of its own for each vCPU. See
 * the manual page kvm_pre_fault_range.3.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "kvm_pre_fault.h"

/* The period of kicks, and of checks of @stop on behalf of sleeping calls, in ns */
#define KICK_PERIOD	10000000

/* Enough for ioctl(), and small for VMMs that have called mlockall(). */
#define STACK_SIZE	0x40000

struct crew {
	struct kvm_pre_fault_job *job;
	/* The options of the caller */
	const struct kvm_pre_fault_opts *opts;

	/* The members below are protected by @lock. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned int running;
	int error;
	uint64_t done;
	uint64_t total;
	uint64_t reported;
};

struct thread {
	struct crew *crew;
	int fd;
	pthread_t id;
};

/* The caller's callback is to run in the caller's thread. */
static void note_progress(void *opaque, uint64_t done, uint64_t total)
{
	struct crew *crew = opaque;

	pthread_mutex_lock(&crew->lock);
	crew->done = done;
	crew->total = total;
	pthread_cond_signal(&crew->changed);
	pthread_mutex_unlock(&crew->lock);
}

/* Called in the thread of the caller, with the lock held. */
static void pass_on(struct crew *crew)
{
	uint64_t done = crew->done, total = crew->total;

	if (!crew->opts->progress || done == crew->reported)
		return;
	crew->reported = done;
	pthread_mutex_unlock(&crew->lock);
	crew->opts->progress(crew->opts->opaque, done, total);
	pthread_mutex_lock(&crew->lock);
}

static void *thread_main(void *arg)
{
	struct thread *thread = arg;
	struct crew *crew = thread->crew;
	sigset_t kick;
	int error;

	if (crew->opts->kick_signal) {
		sigemptyset(&kick);
		sigaddset(&kick, crew->opts->kick_signal);
		pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	}

	error = kvm_pre_fault_work(crew->job, thread->fd);

	pthread_mutex_lock(&crew->lock);
	crew->running--;
	if (error)
		crew->error = error;
	pthread_cond_signal(&crew->changed);
	pthread_mutex_unlock(&crew->lock);
	return NULL;
}

/* Leave signals to the VMM's threads, except those that a thread causes itself. */
static void block_signals(sigset_t *old)
{
	static const int own[] = { SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP, 0 };
	sigset_t set;

	sigfillset(&set);
	for (unsigned int i = 0; own[i]; i++)
		sigdelset(&set, own[i]);
	pthread_sigmask(SIG_BLOCK, &set, old);
}

/* Return the number of threads started, which may be 0. */
static unsigned int start_threads(struct crew *crew, struct thread *threads,
				  const int *fds, unsigned int nr)
{
	unsigned int started = 0;
	pthread_attr_t attr;
	sigset_t old;

	if (pthread_attr_init(&attr))
		return 0;
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	block_signals(&old);
	pthread_mutex_lock(&crew->lock);
	for (; started < nr; started++) {
		threads[started].crew = crew;
		threads[started].fd = fds[started];
		if (pthread_create(&threads[started].id, &attr, thread_main,
				   &threads[started]))
			break;
		crew->running++;
	}
	pthread_mutex_unlock(&crew->lock);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return started;
}

/* Return true if the deadline has passed, and set the next one. */
static bool is_past(struct timespec *deadline)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec < deadline->tv_sec ||
	    (now.tv_sec == deadline->tv_sec && now.tv_nsec < deadline->tv_nsec))
		return false;
	*deadline = now;
	deadline->tv_nsec += KICK_PERIOD;
	if (deadline->tv_nsec >= 1000000000) {
		deadline->tv_nsec -= 1000000000;
		deadline->tv_sec++;
	}
	return true;
}

/*
 * Wait until all threads have ended. Kick once in a period: progress must neither cause
 * nor delay kicks. Without a reason to kick, wake up for progress only.
 */
static void supervise(struct crew *crew, const struct thread *threads, unsigned int nr)
{
	const struct kvm_pre_fault_opts *opts = crew->opts;
	struct timespec deadline = { 0 };

	pthread_mutex_lock(&crew->lock);
	while (crew->running) {
		if (opts->kick_signal && (opts->stop || crew->error)) {
			if (is_past(&deadline))
				kvm_pre_fault_kick(crew->job, opts->kick_signal);
			pthread_cond_timedwait(&crew->changed, &crew->lock, &deadline);
		} else {
			pthread_cond_wait(&crew->changed, &crew->lock);
		}
		pass_on(crew);
	}
	pass_on(crew);
	pthread_mutex_unlock(&crew->lock);

	for (unsigned int i = 0; i < nr; i++)
		pthread_join(threads[i].id, NULL);
}

/* Reject signals that would kill the process, or not interrupt a call. */
static bool is_signal_valid(int signo)
{
	struct sigaction action;

	return !signo || (!sigaction(signo, NULL, &action) &&
			  action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN);
}

static void init_crew(struct crew *crew, const struct kvm_pre_fault_opts *opts)
{
	pthread_condattr_t attr;

	*crew = (struct crew) { .opts = opts, .lock = PTHREAD_MUTEX_INITIALIZER };
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&crew->changed, &attr);
	pthread_condattr_destroy(&attr);
}

/**
 * kvm_pre_fault_areas - map guest memory ahead of the guest's first access
 * @vcpu_fds: vCPUs of one VM, none of them in KVM_RUN
 * @nr_vcpus: number of vCPUs, and the maximum number of threads
 * @areas: the memory, in the order in which it is done
 * @nr_areas: number of areas; 0 is no error
 * @opts: further options and results, or NULL
 *
 * Interrupted calls, and calls that meet a memslot that is being changed, are
 * repeated. On any other error, no work is begun behind that page, and all before
 * is done. May sleep, for as long as the host needs to fault in memory.
 *
 * Return: 0 if all is done, else a negative errno:
 * * -ECANCELED		- @opts->stop was set
 * * -EINVAL		- an argument is wrong, or KVM does not know the ioctl, or the
 *			  host does not know MADV_POPULATE_WRITE (since Linux 5.14)
 * * -EAGAIN		- a memslot was being changed for a second, or no thread can
 *			  be created for @opts->kick_signal
 * * -ENOMEM		- no memory for the job
 * * -EPROTO		- KVM reported success, but no valid progress
 * * others		- those of KVM_PRE_FAULT_MEMORY and of MADV_POPULATE_WRITE, for
 *			  the page @opts->next
 */
int kvm_pre_fault_areas(const int *vcpu_fds, unsigned int nr_vcpus,
			const struct kvm_pre_fault_area *areas,
			unsigned int nr_areas, struct kvm_pre_fault_opts *opts)
{
	struct kvm_pre_fault_opts results = { .next = nr_areas ? areas->gpa : 0 };
	struct kvm_pre_fault_opts none = { .next = 0 };
	struct thread *threads = NULL;
	unsigned int nr, started = 0;
	struct crew crew;
	int error = -EINVAL;

	if (!opts)
		opts = &none;
	if (!is_signal_valid(opts->kick_signal))
		goto out;

	init_crew(&crew, opts);
	results.stop = opts->stop;
	results.progress = note_progress;
	results.opaque = &crew;
	crew.job = kvm_pre_fault_begin(nr_vcpus, areas, nr_areas, &results);
	if (!crew.job) {
		error = -errno;
		goto destroy;
	}

	/* A single vCPU needs a thread only to be kicked by this one. */
	nr = kvm_pre_fault_vcpus(crew.job);
	if (nr > 1 || (nr && opts->kick_signal))
		threads = calloc(nr, sizeof(*threads));
	if (threads)
		started = start_threads(&crew, threads, vcpu_fds, nr);
	if (started) {
		supervise(&crew, threads, started);
	} else if (!opts->kick_signal) {
		results.progress = opts->progress;
		results.opaque = opts->opaque;
		kvm_pre_fault_work(crew.job, vcpu_fds[0]);
	}
	free(threads);
	error = kvm_pre_fault_end(crew.job);
	if (nr && !started && opts->kick_signal)
		error = -EAGAIN;
destroy:
	pthread_cond_destroy(&crew.changed);
	pthread_mutex_destroy(&crew.lock);
out:
	opts->next = results.next;
	opts->done = results.done;
	opts->skipped = results.skipped;
	opts->area = results.area;
	return error;
}

/**
 * kvm_pre_fault_range - kvm_pre_fault_areas() for one area without flags
 * @vcpu_fds: vCPUs of one VM, none of them in KVM_RUN
 * @nr_vcpus: number of vCPUs, and the maximum number of threads
 * @gpa: start of the memory in bytes, page aligned
 * @size: size of the memory in bytes, page aligned; 0 is no error
 * @opts: further options and results, or NULL
 *
 * Context and return: as kvm_pre_fault_areas()
 */
int kvm_pre_fault_range(const int *vcpu_fds, unsigned int nr_vcpus,
			uint64_t gpa, uint64_t size,
			struct kvm_pre_fault_opts *opts)
{
	const struct kvm_pre_fault_area area = { .gpa = gpa, .size = size };

	return kvm_pre_fault_areas(vcpu_fds, nr_vcpus, &area, 1, opts);
}
