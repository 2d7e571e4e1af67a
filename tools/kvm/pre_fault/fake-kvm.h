/* SPDX-License-Identifier: GPL-2.0-only */
/* A KVM that only pretends, for the test of libkvm_pre_fault.so */
#ifndef FAKE_KVM_H
#define FAKE_KVM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define MAX_PAGES	16384
#define MAX_VCPUS	16

struct fake_kvm {
	pthread_mutex_t lock;
	/* The host's answers: the ioctl, the quirks that can be disabled */
	bool supported;
	int quirks;
	/* The host's kernel is older than PROCMAP_QUERY. */
	bool old;
	/* mincore() and the file belong to somebody else. */
	bool foreign;
	/* The page at @error_gpa has this error. */
	uint64_t error_gpa;
	int error;
	/* Each call takes so long, in us. */
	unsigned int delay;

	/* Calls of each kind */
	long calls, runs, enabled;
	uint64_t enabled_args;
	/* The calls before the first KVM_RUN */
	long calls_before_run;
	/* Of each vCPU, in the order of creation */
	int fd[MAX_VCPUS];
	long calls_of[MAX_VCPUS];
	unsigned int vcpus;
	/* How often a page was pre-faulted, by gpa */
	unsigned char hits[MAX_PAGES];
	const char *complaint;
};

extern struct fake_kvm fake;

void reset_fake(void);
int fake_ioctl(int fd, unsigned long request, ...);

#endif
