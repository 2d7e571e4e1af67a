/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared by the latency tests of KVM_PRE_FAULT_MEMORY: a memslot of 1 TiB, a
 * thread that pre-faults it, and the trace of another thread's waits.
 */
#ifndef SELFTEST_KVM_PRE_FAULT_MEMORY_MANNERS_H
#define SELFTEST_KVM_PRE_FAULT_MEMORY_MANNERS_H

#include "../pre_fault.h"

/* As much as a CPU with 40 bits of physical addresses can have */
#define BIG_SIZE	(1024 * SZ_1G)

extern const struct pf_test pf_manners_kill_tests[];
extern const struct pf_test pf_manners_lock_tests[];
extern const struct pf_test pf_manners_cgroup_tests[];

/* Memory of any size, of which next to nothing is there. */
struct big_kind {
	const char *name;
	void *(*mem)(size_t size);
	/* How long to pre-fault, in ms, without using up the machine's memory */
	unsigned int ms;
};

enum { BIG_FILE, BIG_ANON, BIG_THP, NR_BIG_KINDS };

extern const struct big_kind big_kinds[NR_BIG_KINDS];

/* A VM that has nothing but that, at @gpa, and vCPUs; returns the memory. */
void *big_vm(const struct big_kind *kind, uint64_t gpa, size_t size,
	     unsigned int nr_vcpus, struct kvm_vcpu *vcpus[]);

/* A thread that pre-faults all of it, over and over, until told to stop. */
struct big_worker {
	struct kvm_vcpu *vcpu;
	pthread_t thread;
	int cpu;
	uint64_t gpa;
	size_t size;
	bool started;
	bool stop;
	uint64_t rounds;
	double ended;	/* when the last call returned */
};

void big_worker_start(struct big_worker *w);
void big_worker_stop(struct big_worker *w);

int big_nr_cpus(void);
void big_pin(int cpu);
/* Let the calling thread run before all normal ones. */
void big_urgent(void);
void big_usleep(unsigned int us);

/* How many mappings all VMs have; -1 if debugfs does not tell */
long big_leaves(void);

/* The time in the line of a trace that @event points into */
double manners_trace_time(const char *text, const char *event);

#endif /* SELFTEST_KVM_PRE_FAULT_MEMORY_MANNERS_H */
