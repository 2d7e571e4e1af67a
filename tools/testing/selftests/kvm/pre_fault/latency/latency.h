/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared by the latency tests of KVM_PRE_FAULT_MEMORY: a memslot of 1 TiB, and the
 * trace of another thread's waits.
 */
#ifndef SELFTEST_KVM_PRE_FAULT_MEMORY_LATENCY_H
#define SELFTEST_KVM_PRE_FAULT_MEMORY_LATENCY_H

#include "../pre_fault.h"

/* As much as a CPU with 40 bits of physical addresses can have */
#define BIG_SIZE	(1024 * SZ_1G)

extern const struct pf_test pf_latency_signal_tests[];
extern const struct pf_test pf_latency_lock_tests[];
extern const struct pf_test pf_latency_cgroup_tests[];

/* Memory of any size, of which next to nothing is there. */
struct big_memory {
	enum pf_memory memory;
	/* How long to pre-fault, in ms, without using up the machine's memory */
	unsigned int ms;
};

#define NR_BIG_MEMORY	3
extern const struct big_memory big_memory[NR_BIG_MEMORY];

static inline const char *big_name(unsigned int i)
{
	return pf_memory_types[big_memory[i].memory].name;
}

/* A VM that has nothing but that, at @gpa, and vCPUs; returns the memory. */
void *big_vm(enum pf_memory memory, uint64_t gpa, size_t size,
	     unsigned int nr_vcpus, struct kvm_vcpu *vcpus[]);

/* Let the calling thread run before all normal ones. */
void big_urgent(void);

/* How many mappings all VMs have; -1 if debugfs does not tell */
long big_leaves(void);

/* The time in the line of a trace that @event points into */
double big_trace_time(const char *text, const char *event);

#endif /* SELFTEST_KVM_PRE_FAULT_MEMORY_LATENCY_H */
