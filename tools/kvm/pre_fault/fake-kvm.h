/* SPDX-License-Identifier: GPL-2.0-only */
/* A fake KVM, for the tests of libkvm_pre_fault.so */
#ifndef FAKE_KVM_H
#define FAKE_KVM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define MAX_PAGES	16384
#define MAX_VCPUS	16

struct fake_kvm {
	pthread_mutex_t lock;
	/* KVM has the ioctl, and the quirks that can be disabled */
	bool supported;
	int quirks;
	/* The host's kernel has no PROCMAP_QUERY. */
	bool old;
	/* Another user owns the file: mincore() reports every page as present. */
	bool foreign;
	/* The error of the page at @error_gpa */
	uint64_t error_gpa;
	int error;
	/* The duration of each call in us */
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
	/* How often each page was pre-faulted, by gfn */
	unsigned char hits[MAX_PAGES];
	const char *complaint;
};

extern struct fake_kvm fake;

void reset_fake(void);
int fake_ioctl(int fd, unsigned long request, ...);

#endif
