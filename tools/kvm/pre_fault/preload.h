/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libkvm_pre_fault.so: pre-fault guest memory on behalf of a VMM that does not. See the
 * manual page kvm-pre-fault.1.
 */
#ifndef PRELOAD_H
#define PRELOAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvm_pre_fault.h"

/* The environment variable that holds the options of the command, "all,again=4,..." */
#define PRELOAD_ENV	"KVM_PRE_FAULT"

#define SZ_4K		0x1000ULL
#define SZ_2M		0x200000ULL
#define SZ_64M		0x4000000ULL

#define DEFAULT_AGAIN	4
#define MAX_AGAIN	15
#define DEFAULT_SETTLE	100

struct preload_options {
	bool all;
	bool dry_run;
	bool keep;
	bool quiet;
	/* Rounds after the first one, and the time in ms without a change before each */
	unsigned int again;
	unsigned int settle;
	const char *json;
};

/* The memory that is left out, in bytes, by reason */
enum skip {
	SKIP_ROM,
	SKIP_PRIVATE,
	SKIP_LOGGED,
	SKIP_DEVICE,
	SKIP_ABSENT,
	NR_SKIPS
};

struct slot {
	uint32_t id;
	uint32_t flags;
	uint64_t gpa;
	uint64_t size;
	uint64_t hva;
};

/* A part of a slot in one mapping of the process */
struct area {
	uint64_t gpa;
	uint64_t hva;
	uint64_t size;
	/* How to find the pages that the host has in memory */
	enum presence {
		/* Take all pages as present. */
		PRESENT_ALL,
		/* Ask mincore(), which is exact for memory that the process may write. */
		PRESENT_MINCORE,
		/* Combine pagemap, which includes private copies, and SEEK_DATA. */
		PRESENT_PAGEMAP,
	} presence;
	/* The file for SEEK_DATA, or -1, and the offset of the area in that file */
	int fd;
	uint64_t offset;
};

struct round {
	uint64_t begin_ns;
	uint64_t wall_ns;
	/* The sums over all vCPUs */
	uint64_t look_ns;
	uint64_t pre_fault_ns;
	uint64_t bytes;
	uint64_t failed;
	uint64_t calls;
	uint64_t skipped[NR_SKIPS];
	unsigned int vcpus;
	int error;
	uint64_t error_gpa;
};

struct vm {
	pthread_mutex_t lock;
	pthread_cond_t over;
	struct vm *next;
	/* The number of file descriptors that refer to the VM or to its vCPUs */
	unsigned int users;
	unsigned int id;
	bool supported;
	/* The quirk is disabled: deleting or moving a slot drops only its own mappings. */
	bool keeps;
	/* A round is due. KVM_RUN reads this without the lock. */
	bool due;
	unsigned int vcpus;

	struct slot *slots;
	unsigned int nr_slots;
	unsigned int changes;
	unsigned int drops;
	uint64_t changed_ns;

	/* The current round, which ends early once @changes is no longer @seen */
	bool open;
	unsigned int seen;
	unsigned int workers;
	uint64_t joined;
	struct area *areas;
	unsigned int nr_areas;
	unsigned int cursor;
	uint64_t offset;
	uint64_t piece;

	struct round rounds[1 + MAX_AGAIN];
	unsigned int nr_rounds;
};

struct vcpu {
	struct vm *vm;
	struct vcpu *next;
	unsigned int users;
	unsigned int index;
	const volatile struct kvm_run *run;
};

/* The C library's functions, which this library interposes */
struct host {
	int (*ioctl)(int fd, unsigned long request, ...);
	int (*close)(int fd);
	int (*dup)(int fd);
	int (*dup2)(int fd, int to);
	int (*dup3)(int fd, int to, int flags);
	int (*fcntl)(int fd, int cmd, ...);
	int (*fcntl64)(int fd, int cmd, ...);
};

extern struct host host;
extern struct preload_options options;

/* preload-options.c */
int parse_options(struct preload_options *to, char *text);

/* present.c */
int find_areas(struct vm *vm, uint64_t skipped[NR_SKIPS]);
void free_areas(struct vm *vm);
int find_present(const struct area *area, uint8_t *present);

/* round.c */
uint64_t now_ns(void);
void slot_changed(struct vm *vm, const struct slot *slot);
void before_run(struct vcpu *vcpu, int fd);

/* report.c */
void report_round(const struct vm *vm);
void report_unsupported(const struct vm *vm);
void report_json(void);
void report_in_child(void);

/* preload.c */
void for_each_vm(void (*fn)(struct vm *vm, void *opaque), void *opaque);

#endif
