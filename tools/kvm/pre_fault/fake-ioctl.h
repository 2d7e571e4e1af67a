/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Copyright (C) 2026 The KVM_PRE_FAULT_MEMORY maintainers
 *
 * The helper with fake system calls, whose results a test chooses.
 */
#ifndef FAKE_IOCTL_H
#define FAKE_IOCTL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "kvm_pre_fault.h"
#include "test.h"

#define SZ_4K		0x1000ULL
#define SZ_2M		0x200000ULL
#define SZ_64M		0x4000000ULL
#define SZ_1G		0x40000000ULL
#define MAX_PAGES	(5 * SZ_1G / SZ_4K)
#define MAX_VCPUS	64
#define FIRST_FD	1000
#define FILE_FD		999
#define ANYWHERE	UINT64_MAX

/* The behaviour that a test chooses, and a record of the calls */
struct fake {
	pthread_mutex_t lock;
	uint64_t base;
	uint64_t size;
	/* The page with @error, or ANYWHERE. The error is returned @errors times. */
	uint64_t error_gpa;
	int error;
	long errors;
	/* Set @errors again after each call that succeeds. */
	bool again;
	/* The most bytes that a call does, 0 for no limit */
	uint64_t most;
	/* The call with this page sleeps until a signal arrives. */
	uint64_t sleep_gpa;
	/* Waits that EAGAIN causes are cut short. */
	bool cut;
	/* Return 0 without progress, or with too much. */
	bool idle, wild;
	/* Set @stop after so many calls. */
	long stop_after;
	int stop;
	/* The most threads that can be created */
	unsigned int threads;
	/* Pieces may begin and end anywhere. */
	bool ragged;
	/* Only populated memory may be pre-faulted; that from @memory on is @base's. */
	char *memory;
	int populate_error;
	/* A file: data of half a period, a hole of as much, and nothing from the end on */
	uint64_t period;
	uint64_t file_end;
	int seek_error;

	long calls, sleeps, kicks;
	/* The number of calls until the sleeping one was woken up */
	long woken;
	/* In microseconds */
	long waits;
	unsigned int created;
	uint64_t longest;
	bool busy[MAX_VCPUS];
	bool used[MAX_VCPUS];
	pthread_t thread[MAX_VCPUS];
	uint64_t next[MAX_VCPUS];
	long populates;
	unsigned char hits[MAX_PAGES];
	unsigned char populated[MAX_PAGES];
	const char *complaint;
};

extern struct fake fake;
/* The thread that calls the helper */
extern pthread_t caller;

/* Have the fake's calls succeed for this range, and forget earlier calls. */
void prepare(uint64_t base, uint64_t size);
void set_error(uint64_t gpa, int error, long times);
/* Run tests that also fail if the fake complains. Return 1 if a test failed, else 0. */
int run_with_fake(const struct test *tests, size_t nr);

#endif
