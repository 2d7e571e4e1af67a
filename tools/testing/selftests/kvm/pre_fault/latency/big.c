// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memslots that are larger than the machine's memory, and the kernel's statistics and
 * trace of them.
 */
#define _GNU_SOURCE
#include <sched.h>

#include "latency.h"

const struct big_memory big_memory[NR_BIG_MEMORY] = {
	{ PF_SMALL_FILE, 500 },
	{ PF_ANON_NEW, 500 },
	{ PF_THP_NEW, 100 },
};

void *big_vm(enum pf_memory memory, uint64_t gpa, size_t size,
	     unsigned int nr_vcpus, struct kvm_vcpu *vcpus[])
{
	struct kvm_vm *vm = vm_create_barebones();
	void *mem = pf_mem(memory, size, 1);
	unsigned int i;

	vm_set_user_memory_region(vm, TEST_SLOT, 0, gpa, size, mem);
	for (i = 0; i < nr_vcpus; i++) {
		vcpus[i] = __vm_vcpu_add(vm, i);
		pf_arch_vcpu_init(vcpus[i]);
	}
	return mem;
}

void big_urgent(void)
{
	struct sched_param param = { .sched_priority = 50 };

	TEST_ASSERT(!sched_setscheduler(0, SCHED_FIFO, &param),
		    "sched_setscheduler()");
}

long big_leaves(void)
{
	long n4k = pf_read_long("/sys/kernel/debug/kvm/pages_4k");
	long n2m = pf_read_long("/sys/kernel/debug/kvm/pages_2m");

	/* arm64 does not count mappings: the pre-faulted pages are an upper bound. */
	if (n4k < 0 || n2m < 0)
		return pf_read_long("/sys/kernel/debug/kvm/pf_prefaulted");
	return n4k + n2m;
}

double big_trace_time(const char *text, const char *event)
{
	/* "TASK-PID [CPU] FLAGS SECONDS: EVENT: ..." */
	const char *p = event - 2;

	while (p > text && p[-1] != ' ' && p[-1] != '\n')
		p--;
	return atof(p);
}
