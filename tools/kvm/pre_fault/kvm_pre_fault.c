// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Copyright (C) 2026 The KVM_PRE_FAULT_MEMORY maintainers
 *
 * KVM_PRE_FAULT_MEMORY on a range, with a thread for each vCPU. See the manual page
 * kvm_pre_fault_range.3.
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
#include <unistd.h>

#include "kvm_pre_fault.h"

/* Two threads in the same huge page would do the same work twice. */
#define PIECE_MIN	0x200000ULL
#define PIECE_MAX	0x40000000ULL
/* Small pieces let threads end together, though some pieces take longer. */
#define PIECES_PER_VCPU	4

/* The maximum size of a call: @stop is checked only between calls. */
#define CALL_MAX	0x4000000ULL

/* The period of kicks, and of checks of @stop on behalf of sleeping calls, in ns */
#define KICK_PERIOD	10000000

/* About a second of EAGAIN, in us of sleep, or a million times EINTR, without progress */
#define PATIENCE	1000000
#define AGAIN_WAIT	1000

/* Enough for ioctl(), and small for VMMs that have called mlockall(). */
#define STACK_SIZE	0x40000

struct job {
	struct kvm_pre_fault_opts *opts;
	uint64_t total;
	uint64_t piece;

	/* The members below are protected by @lock. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned int running;
	uint64_t cursor;
	/* The end of the work: that of the range, or the lowest page with an error */
	uint64_t end;
	int error;
	uint64_t done;
	uint64_t reported;
};

struct worker {
	struct job *job;
	int fd;
	pthread_t thread;

	/* Protected by the job's lock: the current page */
	uint64_t gpa;
	bool ended;
};

static uint64_t to_boundary(uint64_t gpa, uint64_t size, uint64_t unit)
{
	uint64_t len = unit - (gpa & (unit - 1));

	return len < size ? len : size;
}

static bool is_stopped(const struct job *job)
{
	const int *stop = job->opts->stop;

	return stop && __atomic_load_n(stop, __ATOMIC_RELAXED);
}

/* Report the lowest page with an error, in whatever order threads find errors. */
static void end_at(struct job *job, uint64_t gpa, int error)
{
	if (gpa < job->end) {
		job->end = gpa;
		job->error = error;
	}
}

static void fail(struct job *job, uint64_t gpa, int error)
{
	pthread_mutex_lock(&job->lock);
	end_at(job, gpa, error);
	pthread_mutex_unlock(&job->lock);
}

static bool is_wanted(struct worker *worker, uint64_t gpa)
{
	struct job *job = worker->job;
	bool wanted;

	pthread_mutex_lock(&job->lock);
	worker->gpa = gpa;
	if (is_stopped(job))
		end_at(job, gpa, -ECANCELED);
	wanted = gpa < job->end;
	pthread_mutex_unlock(&job->lock);
	return wanted;
}

static uint64_t take_piece(struct job *job, uint64_t *gpa)
{
	uint64_t size = 0;

	pthread_mutex_lock(&job->lock);
	*gpa = job->cursor;
	if (*gpa < job->end)
		size = to_boundary(*gpa, job->end - *gpa, job->piece);
	job->cursor += size;
	pthread_mutex_unlock(&job->lock);
	return size;
}

/* Called in the thread of the caller, with the lock held. */
static void report(struct job *job)
{
	uint64_t done = job->done;

	if (!job->opts->progress || done == job->reported)
		return;
	job->reported = done;
	pthread_mutex_unlock(&job->lock);
	job->opts->progress(job->opts->opaque, done, job->total);
	pthread_mutex_lock(&job->lock);
}

static void add_done(struct job *job, uint64_t size)
{
	pthread_mutex_lock(&job->lock);
	job->done += size;
	if (job->running)
		pthread_cond_signal(&job->changed);
	else
		report(job);
	pthread_mutex_unlock(&job->lock);
}

/* Make one call. Return 0 and the bytes done, or a negative errno. */
static int pre_fault(int fd, uint64_t gpa, uint64_t size, uint64_t *done)
{
	struct kvm_pre_fault_memory range = { .gpa = gpa, .size = size };

	if (ioctl(fd, KVM_PRE_FAULT_MEMORY, &range))
		return -errno;
	/* Prevent an endless loop, and access outside of the range. */
	*done = size - range.size;
	if (!*done || *done > size || range.gpa != gpa + *done)
		return -EPROTO;
	return 0;
}

/* Sleep for the full time: a kick must not use up patience. */
static void wait_again(void)
{
	struct timespec left = { .tv_nsec = AGAIN_WAIT * 1000 };

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

static void pre_fault_piece(struct worker *worker, uint64_t gpa, uint64_t size)
{
	struct job *job = worker->job;
	int patience = PATIENCE, error;
	uint64_t done = 0;

	while (size && is_wanted(worker, gpa)) {
		error = pre_fault(worker->fd, gpa, to_boundary(gpa, size, CALL_MAX),
				  &done);
		if (!error) {
			gpa += done;
			size -= done;
			patience = PATIENCE;
			add_done(job, done);
		} else if (error == -EINTR && patience > 0) {
			patience--;
		} else if (error == -EAGAIN && patience > 0) {
			patience -= AGAIN_WAIT;
			wait_again();
		} else {
			fail(job, gpa, error);
		}
	}
}

static void work(struct worker *worker)
{
	uint64_t gpa, size;

	while ((size = take_piece(worker->job, &gpa)))
		pre_fault_piece(worker, gpa, size);
}

static void *worker_thread(void *arg)
{
	struct worker *worker = arg;
	struct job *job = worker->job;
	sigset_t kick;

	if (job->opts->kick_signal) {
		sigemptyset(&kick);
		sigaddset(&kick, job->opts->kick_signal);
		pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	}

	work(worker);

	pthread_mutex_lock(&job->lock);
	worker->ended = true;
	job->running--;
	pthread_cond_signal(&job->changed);
	pthread_mutex_unlock(&job->lock);
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
static unsigned int start_workers(struct job *job, struct worker *workers,
				  const int *fds, unsigned int nr)
{
	unsigned int started = 0;
	pthread_attr_t attr;
	sigset_t old;

	if (pthread_attr_init(&attr))
		return 0;
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	block_signals(&old);
	pthread_mutex_lock(&job->lock);
	for (; started < nr; started++) {
		workers[started].job = job;
		workers[started].fd = fds[started];
		if (pthread_create(&workers[started].thread, &attr, worker_thread,
				   &workers[started]))
			break;
		job->running++;
	}
	pthread_mutex_unlock(&job->lock);
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

/* Kick the threads whose work is no longer needed. Called with the lock held. */
static void kick(struct job *job, const struct worker *workers, unsigned int nr)
{
	bool all = is_stopped(job);

	for (unsigned int i = 0; i < nr; i++) {
		if (!workers[i].ended && (all || workers[i].gpa >= job->end))
			pthread_kill(workers[i].thread, job->opts->kick_signal);
	}
}

/*
 * Wait until all threads have ended. Repeat kicks, since one may come before the call
 * that it is to interrupt. Kick once in a period: progress must neither cause nor
 * delay kicks.
 */
static void supervise(struct job *job, const struct worker *workers, unsigned int nr)
{
	struct timespec deadline = { 0 };

	pthread_mutex_lock(&job->lock);
	while (job->running) {
		if (is_past(&deadline) && job->opts->kick_signal)
			kick(job, workers, nr);
		pthread_cond_timedwait(&job->changed, &job->lock, &deadline);
		report(job);
	}
	report(job);
	pthread_mutex_unlock(&job->lock);

	for (unsigned int i = 0; i < nr; i++)
		pthread_join(workers[i].thread, NULL);
}

static int check(unsigned int nr_vcpus, uint64_t gpa, uint64_t size, int signo)
{
	struct sigaction action;

	if (!nr_vcpus || (gpa | size) % (uint64_t)sysconf(_SC_PAGESIZE))
		return -EINVAL;
	if (size && gpa + size <= gpa)
		return -EINVAL;
	/* Reject signals that would kill the process, or not interrupt a call. */
	if (signo && (sigaction(signo, NULL, &action) ||
		      action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN))
		return -EINVAL;
	return 0;
}

/**
 * kvm_pre_fault_range - map guest memory ahead of the guest's first access
 * @vcpu_fds: vCPUs of one VM, none of them in KVM_RUN
 * @nr_vcpus: number of vCPUs, and the maximum number of threads
 * @gpa: start of the memory in bytes, page aligned
 * @size: size of the memory in bytes, page aligned; 0 is no error
 * @opts: further options and results, or NULL
 *
 * Interrupted calls, and calls that meet a memslot that is being changed, are
 * repeated. On any other error, no work is begun above that page, and all below
 * is done. May sleep, for as long as the host needs to fault in memory.
 *
 * Return: 0 if all is done, else a negative errno:
 * * -ECANCELED		- @opts->stop was set
 * * -EINVAL		- an argument is wrong, or KVM does not know the ioctl
 * * -EAGAIN		- a memslot was being changed for a second, or no thread can
 *			  be created for @opts->kick_signal
 * * -EPROTO		- KVM reported success, but no valid progress
 * * others		- those of KVM_PRE_FAULT_MEMORY, for the page @opts->next
 */
int kvm_pre_fault_range(const int *vcpu_fds, unsigned int nr_vcpus,
			uint64_t gpa, uint64_t size,
			struct kvm_pre_fault_opts *opts)
{
	struct kvm_pre_fault_opts none = { .next = 0 };
	struct worker *workers = NULL, self;
	unsigned int nr = 0;
	pthread_condattr_t attr;
	struct job job = {
		.opts = opts ? opts : &none,
		.total = size,
		.piece = PIECE_MAX,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.cursor = gpa,
		.end = gpa + size,
	};
	uint64_t pieces;

	job.opts->next = gpa;
	job.opts->done = 0;
	job.error = check(nr_vcpus, gpa, size, job.opts->kick_signal);
	if (job.error || !size)
		return job.error;

	while (nr_vcpus > 1 && job.piece > PIECE_MIN &&
	       size / job.piece < (uint64_t)nr_vcpus * PIECES_PER_VCPU)
		job.piece /= 2;
	pieces = (job.end - 1) / job.piece - gpa / job.piece + 1;
	if (pieces < nr_vcpus)
		nr_vcpus = (unsigned int)pieces;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&job.changed, &attr);
	pthread_condattr_destroy(&attr);

	/* A single vCPU needs a thread only to be kicked by this one. */
	if (nr_vcpus > 1 || job.opts->kick_signal)
		workers = calloc(nr_vcpus, sizeof(*workers));
	if (workers)
		nr = start_workers(&job, workers, vcpu_fds, nr_vcpus);
	self = (struct worker){ .job = &job, .fd = vcpu_fds[0] };
	if (nr)
		supervise(&job, workers, nr);
	else if (job.opts->kick_signal)
		end_at(&job, gpa, -EAGAIN);
	else
		work(&self);
	free(workers);
	pthread_cond_destroy(&job.changed);
	pthread_mutex_destroy(&job.lock);

	job.opts->next = job.end;
	job.opts->done = job.done;
	return job.error;
}
