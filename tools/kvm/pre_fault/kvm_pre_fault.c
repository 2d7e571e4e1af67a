// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Copyright (C) 2026 The KVM_PRE_FAULT_MEMORY maintainers
 *
 * KVM_PRE_FAULT_MEMORY on a list of areas, with threads of the VMM. See the manual page
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
#include <sys/mman.h>
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

/* About a second of EAGAIN, in us of sleep, or a million times EINTR, without progress */
#define PATIENCE	1000000
#define AGAIN_WAIT	1000

/* The installed headers may be older than Linux 5.14. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

struct kvm_pre_fault_job {
	const struct kvm_pre_fault_area *areas;
	unsigned int nr_areas;
	struct kvm_pre_fault_opts *opts;
	/* For callers that do not want the results */
	struct kvm_pre_fault_opts none;
	uint64_t total;
	uint64_t piece;
	unsigned int nr_vcpus;

	/* The members below are protected by @lock. */
	pthread_mutex_t lock;
	/* The next piece: an area, and the position in it */
	unsigned int cursor;
	uint64_t within;
	/* Positions in all areas in a row: the next piece, and the end of the work */
	uint64_t at;
	uint64_t end;
	/* The lowest page with an error is at the end. */
	unsigned int end_area;
	uint64_t end_gpa;
	int error;
	uint64_t done;
	uint64_t skipped;
	uint64_t reported;
	bool reporting;
	struct worker *workers;
};

/* A thread in kvm_pre_fault_work() */
struct worker {
	struct kvm_pre_fault_job *job;
	int fd;
	pthread_t thread;

	/* Protected by the job's lock: the position of the current page */
	uint64_t at;
	struct worker *next;
};

/* A part of an area */
struct piece {
	const struct kvm_pre_fault_area *area;
	/* The position in the area, and in all areas in a row */
	uint64_t within;
	uint64_t at;
	uint64_t size;
};

static uint64_t to_boundary(uint64_t gpa, uint64_t size, uint64_t unit)
{
	uint64_t len = unit - (gpa & (unit - 1));

	return len < size ? len : size;
}

static uint64_t piece_gpa(const struct piece *piece)
{
	return piece->area->gpa + piece->within;
}

static void advance(struct piece *piece, uint64_t size)
{
	piece->within += size;
	piece->at += size;
	piece->size -= size;
}

static bool is_stopped(const struct kvm_pre_fault_job *job)
{
	const int *stop = job->opts->stop;

	return stop && __atomic_load_n(stop, __ATOMIC_RELAXED);
}

/* Report the lowest page with an error, in whatever order threads find errors. */
static void end_at(struct kvm_pre_fault_job *job, const struct piece *piece, int error)
{
	if (piece->at < job->end) {
		job->end = piece->at;
		job->end_area = (unsigned int)(piece->area - job->areas);
		job->end_gpa = piece_gpa(piece);
		job->error = error;
	}
}

static void fail(struct kvm_pre_fault_job *job, const struct piece *piece, int error)
{
	pthread_mutex_lock(&job->lock);
	end_at(job, piece, error);
	pthread_mutex_unlock(&job->lock);
}

static bool is_wanted(struct worker *worker, const struct piece *piece)
{
	struct kvm_pre_fault_job *job = worker->job;
	bool wanted;

	pthread_mutex_lock(&job->lock);
	worker->at = piece->at;
	if (is_stopped(job))
		end_at(job, piece, -ECANCELED);
	wanted = piece->at < job->end;
	pthread_mutex_unlock(&job->lock);
	return wanted;
}

/* No two pieces share a huge page, if the areas do not. */
static bool take_piece(struct kvm_pre_fault_job *job, struct piece *piece)
{
	bool taken = false;

	pthread_mutex_lock(&job->lock);
	while (job->cursor < job->nr_areas &&
	       job->within == job->areas[job->cursor].size) {
		job->cursor++;
		job->within = 0;
	}
	if (job->at < job->end) {
		piece->area = &job->areas[job->cursor];
		piece->within = job->within;
		piece->at = job->at;
		piece->size = to_boundary(piece_gpa(piece),
					  piece->area->size - job->within, job->piece);
		job->within += piece->size;
		job->at += piece->size;
		taken = true;
	}
	pthread_mutex_unlock(&job->lock);
	return taken;
}

/*
 * Called with the lock held. A thread that comes along meanwhile leaves its progress to
 * this one.
 */
static void report(struct kvm_pre_fault_job *job)
{
	uint64_t done;

	if (!job->opts->progress || job->reporting)
		return;
	job->reporting = true;
	while ((done = job->done) != job->reported) {
		job->reported = done;
		pthread_mutex_unlock(&job->lock);
		job->opts->progress(job->opts->opaque, done, job->total);
		pthread_mutex_lock(&job->lock);
	}
	job->reporting = false;
}

static void add_done(struct kvm_pre_fault_job *job, uint64_t done, uint64_t skipped)
{
	pthread_mutex_lock(&job->lock);
	job->done += done;
	job->skipped += skipped;
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

/*
 * KVM reads the memory: have the host allocate what the guest will write to, once if the
 * call has to be repeated.
 */
static int populate(const struct piece *piece, uint64_t size, uint64_t *populated)
{
	char *hva = (char *)piece->area->hva + piece->within;

	if (!(piece->area->flags & KVM_PRE_FAULT_POPULATE) || piece->at < *populated)
		return 0;
	if (madvise(hva, size, MADV_POPULATE_WRITE))
		return -errno;
	*populated = piece->at + size;
	return 0;
}

static void pre_fault_data(struct worker *worker, struct piece *piece)
{
	struct kvm_pre_fault_job *job = worker->job;
	uint64_t populated = piece->at, size, done = 0;
	int patience = PATIENCE, error;

	while (piece->size && is_wanted(worker, piece)) {
		size = to_boundary(piece_gpa(piece), piece->size, CALL_MAX);
		error = populate(piece, size, &populated);
		if (!error)
			error = pre_fault(worker->fd, piece_gpa(piece), size, &done);
		if (!error) {
			advance(piece, done);
			patience = PATIENCE;
			add_done(job, done, 0);
		} else if (error == -EINTR && patience > 0) {
			patience--;
		} else if (error == -EAGAIN && patience > 0) {
			patience -= AGAIN_WAIT;
			wait_again();
		} else {
			fail(job, piece, error);
		}
	}
}

/*
 * Find the next data in the file, and the next hole, as distances from the start of the
 * piece. Without an answer, all is data.
 */
static void find_data(const struct piece *piece, uint64_t *data, uint64_t *hole)
{
	const struct kvm_pre_fault_area *area = piece->area;
	const off_t start = (off_t)(area->offset + piece->within);
	const off_t page = sysconf(_SC_PAGESIZE);
	off_t at;

	*data = 0;
	*hole = piece->size;
	if (!(area->flags & KVM_PRE_FAULT_SKIP_HOLES))
		return;

	at = lseek(area->fd, start, SEEK_DATA);
	if (at < 0) {
		if (errno == ENXIO)
			*data = piece->size;
		return;
	}
	if ((uint64_t)(at - start) >= piece->size) {
		*data = piece->size;
		return;
	}
	*data = (uint64_t)(at - start) & ~((uint64_t)page - 1);
	if (*data)
		return;

	at = lseek(area->fd, at, SEEK_HOLE);
	if (at < 0)
		return;
	at = (at + page - 1) & ~(page - 1);
	if ((uint64_t)(at - start) < piece->size)
		*hole = (uint64_t)(at - start);
}

static void pre_fault_piece(struct worker *worker, struct piece *piece)
{
	uint64_t data, hole;
	struct piece part;

	while (piece->size && is_wanted(worker, piece)) {
		find_data(piece, &data, &hole);
		if (data) {
			advance(piece, data);
			add_done(worker->job, data, data);
			continue;
		}
		part = *piece;
		part.size = hole;
		pre_fault_data(worker, &part);
		if (part.size)
			return;
		advance(piece, hole);
	}
}

static bool is_area_valid(const struct kvm_pre_fault_area *area)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	if ((area->gpa | area->size) % page ||
	    area->flags & ~(KVM_PRE_FAULT_POPULATE | KVM_PRE_FAULT_SKIP_HOLES))
		return false;
	if (area->flags & KVM_PRE_FAULT_POPULATE && (uintptr_t)area->hva % page)
		return false;
	if (area->flags & KVM_PRE_FAULT_SKIP_HOLES && area->offset % page)
		return false;
	return !area->size || area->gpa + area->size > area->gpa;
}

static int init_job(struct kvm_pre_fault_job *job, unsigned int nr_vcpus)
{
	const struct kvm_pre_fault_area *area, *end = job->areas + job->nr_areas;
	uint64_t pieces = 0;

	for (area = job->areas; area < end; area++) {
		if (!is_area_valid(area) || job->total + area->size < job->total)
			return -EINVAL;
		job->total += area->size;
		job->end_gpa = area->gpa + area->size;
	}
	job->end = job->total;
	job->end_area = job->nr_areas;

	job->piece = PIECE_MAX;
	while (nr_vcpus > 1 && job->piece > PIECE_MIN &&
	       job->total / job->piece < (uint64_t)nr_vcpus * PIECES_PER_VCPU)
		job->piece /= 2;
	for (area = job->areas; area < end && pieces < nr_vcpus; area++) {
		if (area->size)
			pieces += (area->gpa + area->size - 1) / job->piece -
				  area->gpa / job->piece + 1;
	}
	job->nr_vcpus = pieces < nr_vcpus ? (unsigned int)pieces : nr_vcpus;
	return 0;
}

/**
 * kvm_pre_fault_begin - prepare a job that threads of the VMM do
 * @nr_vcpus: number of threads that are expected, to divide the memory
 * @areas: the memory, in the order in which it is done; valid until
 *	kvm_pre_fault_end()
 * @nr_areas: number of areas; 0 is no error
 * @opts: further options and results, or NULL; valid until kvm_pre_fault_end();
 *	@opts->kick_signal has to be 0, since the VMM kicks its threads itself
 *
 * Return: a job, or NULL with errno set to EINVAL or ENOMEM.
 */
struct kvm_pre_fault_job *
kvm_pre_fault_begin(unsigned int nr_vcpus, const struct kvm_pre_fault_area *areas,
		    unsigned int nr_areas, struct kvm_pre_fault_opts *opts)
{
	struct kvm_pre_fault_job *job = calloc(1, sizeof(*job));
	int error = -EINVAL;

	if (!job) {
		errno = ENOMEM;
		return NULL;
	}
	job->areas = areas;
	job->nr_areas = nr_areas;
	job->opts = opts ? opts : &job->none;
	job->opts->next = nr_areas ? areas->gpa : 0;
	job->opts->done = 0;
	job->opts->skipped = 0;
	job->opts->area = 0;
	if (nr_vcpus && !job->opts->kick_signal)
		error = init_job(job, nr_vcpus);
	if (error) {
		free(job);
		errno = -error;
		return NULL;
	}
	pthread_mutex_init(&job->lock, NULL);
	return job;
}

/**
 * kvm_pre_fault_vcpus - tell how many vCPUs can work on a job at once
 * @job: the job
 *
 * Return: a number from 0, for nothing to do, to that given to kvm_pre_fault_begin()
 */
unsigned int kvm_pre_fault_vcpus(const struct kvm_pre_fault_job *job)
{
	return job->nr_vcpus;
}

/**
 * kvm_pre_fault_work - do a share of a job with one vCPU
 * @job: the job
 * @vcpu_fd: the vCPU of the calling thread, different from those of other callers
 *
 * Interrupted calls, and calls that meet a memslot that is being changed, are repeated.
 * On any other error, no work is begun behind that page, and all before is done.
 * Returns when no work is left to be taken; other threads may still be at work. May
 * sleep, for as long as the host needs to fault in memory; a signal handler ends the
 * sleep, and the work ends if @opts->stop is set.
 *
 * Return: 0, or the negative errno of the job as of now, see kvm_pre_fault_end()
 */
int kvm_pre_fault_work(struct kvm_pre_fault_job *job, int vcpu_fd)
{
	struct worker self = { .job = job, .fd = vcpu_fd, .thread = pthread_self() };
	struct worker **link;
	struct piece piece;
	int error;

	pthread_mutex_lock(&job->lock);
	self.next = job->workers;
	job->workers = &self;
	pthread_mutex_unlock(&job->lock);

	while (take_piece(job, &piece))
		pre_fault_piece(&self, &piece);

	pthread_mutex_lock(&job->lock);
	for (link = &job->workers; *link != &self; link = &(*link)->next)
		;
	*link = self.next;
	error = job->error;
	pthread_mutex_unlock(&job->lock);
	return error;
}

/**
 * kvm_pre_fault_kick - interrupt the work that is no longer wanted
 * @job: the job
 * @signo: a signal whose handler does nothing, and that no thread at work blocks
 *
 * Signals the threads in kvm_pre_fault_work(), after @opts->stop all of them, after an
 * error those behind it. Repeat this until they have returned: a signal may come before
 * the call that it is to interrupt.
 */
void kvm_pre_fault_kick(struct kvm_pre_fault_job *job, int signo)
{
	const struct worker *worker;
	bool all;

	pthread_mutex_lock(&job->lock);
	all = is_stopped(job);
	for (worker = job->workers; worker; worker = worker->next) {
		if (all || worker->at >= job->end)
			pthread_kill(worker->thread, signo);
	}
	pthread_mutex_unlock(&job->lock);
}

/**
 * kvm_pre_fault_end - take the results of a job, and free it
 * @job: the job, which no thread works on
 *
 * Return: 0 if all is done, else a negative errno:
 * * -ECANCELED		- @opts->stop was set, or work is left that no thread took
 * * -EINVAL		- KVM does not know the ioctl, or the host does not know
 *			  MADV_POPULATE_WRITE (since Linux 5.14)
 * * -EAGAIN		- a memslot was being changed for a second
 * * -EPROTO		- KVM reported success, but no valid progress
 * * others		- those of KVM_PRE_FAULT_MEMORY and of MADV_POPULATE_WRITE, for
 *			  the page @opts->next
 */
int kvm_pre_fault_end(struct kvm_pre_fault_job *job)
{
	struct piece left;
	int error;

	if (take_piece(job, &left))
		end_at(job, &left, -ECANCELED);
	error = job->error;
	job->opts->area = job->end_area;
	job->opts->next = job->end_gpa;
	job->opts->done = job->done;
	job->opts->skipped = job->skipped;
	pthread_mutex_destroy(&job->lock);
	free(job);
	return error;
}
