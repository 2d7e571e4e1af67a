// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY: tests for arm64 only.
 */
#define _GNU_SOURCE
#include "../pre_fault.h"

#define NR_PAGES	1536
#define SIZE		(NR_PAGES * PAGE_SIZE)

/* KVM refuses the ioctl before KVM_ARM_VCPU_INIT. */
static void enoexec_vcpu_not_initialized(void)
{
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm_create_barebones(), 0);
	struct kvm_pre_fault_memory range = { .gpa = TEST_GPA, .size = SIZE };
	int ret;

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, SIZE,
				  pf_mem(PF_ANON, SIZE, 1));
	ret = pf_call(vcpu, &range);
	TEST_ASSERT(ret == ENOEXEC, "errno %d (%s)", ret, strerror(ret));
	TEST_ASSERT(range.gpa == TEST_GPA && range.size == SIZE,
		    "%#llx done", range.gpa - TEST_GPA);

	pf_arch_vcpu_init(vcpu);
	pf_map(vcpu, TEST_GPA, SIZE);
}

/* Pre-faulted memory can be executed, with a fault if caches are not coherent. */
static void exec_pre_faulted(void)
{
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, SIZE);

	pf_map_pages(vcpu, TEST_GPA, SIZE, NR_PAGES);
	pf_guest(vcpu, PF_EXEC, TEST_GPA, NR_PAGES, 1);
	pf_guest_no_fault(vcpu, PF_EXEC, TEST_GPA, NR_PAGES, 1, 0);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, 0);
}

const struct pf_test pf_arch_tests[] = {
	PF_TEST(enoexec_vcpu_not_initialized),
	PF_TEST_BATCH(exec_pre_faulted),
	{ }
};
