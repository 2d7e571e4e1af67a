/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared by the latency tests of KVM_PRE_FAULT_MEMORY: a memslot of 1 TiB, and the
 * trace of other threads' waits.
 */
#ifndef SELFTEST_KVM_PRE_FAULT_LATENCY_H
#define SELFTEST_KVM_PRE_FAULT_LATENCY_H

#include "../pre_fault.h"

/* The maximum with 40 bits of physical addresses */
#define BIG_SIZE	(1024 * SZ_1G)

extern const struct pf_test pf_latency_signal_tests[];
extern const struct pf_test pf_latency_lock_tests[];
extern const struct pf_test pf_latency_cgroup_tests[];

/* Memory of any size that takes few host pages */
struct big_memory {
	enum pf_memory memory;
	/* The time to pre-fault, in ms, before the machine runs out of memory */
	unsigned int ms;
};

#define NR_BIG_MEMORY	3
extern const struct big_memory big_memory[NR_BIG_MEMORY];

static inline const char *big_name(unsigned int i)
{
	return pf_memory_types[big_memory[i].memory].name;
}

/* Create a VM with only this memory at @gpa, and vCPUs. Return the memory. */
void *big_vm(enum pf_memory memory, uint64_t gpa, size_t size,
	     unsigned int nr_vcpus, struct kvm_vcpu *vcpus[]);

/* Give the calling thread a real-time policy. */
void big_urgent(void);

/* Return the number of mappings of all VMs; -1 without debugfs. */
long big_leaves(void);

/* Return the time of the trace line that @event points into. */
double big_trace_time(const char *text, const char *event);

#endif /* SELFTEST_KVM_PRE_FAULT_LATENCY_H */
