/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names of the newest selftest library that Linux 6.1 lacks, and facts of Linux 6.1.
 */
#ifndef SELFTEST_KVM_PRE_FAULT_BASE_H
#define SELFTEST_KVM_PRE_FAULT_BASE_H

#include "old_base.h"

/* The functions that make VMs leave this to their callers. */
static inline struct kvm_vm *base_init_vm(struct kvm_vm *vm, unsigned int nr,
					  struct kvm_vcpu *vcpus[])
{
	ucall_init(vm, NULL);
#ifdef __x86_64__
	vm_init_descriptor_tables(vm);
	while (nr)
		vcpu_init_descriptor_tables(vcpus[--nr]);
#endif
	return vm;
}

#define vm_create(nr)	base_init_vm(vm_create(nr), 0, NULL)
#define vm_create_with_one_vcpu(vcpu, code) \
	base_init_vm(vm_create_with_one_vcpu(vcpu, code), 1, vcpu)
#define vm_create_with_vcpus(nr, code, vcpus) \
	base_init_vm(vm_create_with_vcpus(nr, code, vcpus), nr, vcpus)

/* KVM marks a page dirty when it maps the page writable. */
#ifdef __aarch64__
#define PF_MARKS_DIRTY		true
#else
#define PF_MARKS_DIRTY		false
#endif

/* A pre-fault leaves lazily freed memory reclaimable. */
#define PF_KEEPS_LAZYFREE	(!PF_MARKS_DIRTY)

/* The ioctl loads the vCPU's root before it looks for a memslot. */
#define PF_ROOT_BEFORE_SLOT	false

/* KVM does not have this capability, and refuses to enable it. */
#define KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE	228

/* EOPNOTSUPP while the vCPU runs a nested guest without nested paging */
#define PF_REFUSES_L2		true

#ifdef __x86_64__

#define host_cpu_is_intel	is_intel_cpu()

static inline bool kvm_cpu_has_ept(void)
{
	u64 ctrl;

	ctrl = kvm_get_feature_msr(MSR_IA32_VMX_TRUE_PROCBASED_CTLS) >> 32;
	if (!(ctrl & CPU_BASED_ACTIVATE_SECONDARY_CONTROLS))
		return false;

	ctrl = kvm_get_feature_msr(MSR_IA32_VMX_PROCBASED_CTLS2) >> 32;
	return ctrl & SECONDARY_EXEC_ENABLE_EPT;
}

#endif /* __x86_64__ */

#ifdef __aarch64__
#define ESR_ELx_EC_MAX		(ESR_EC_NUM - 1)
#define ESR_ELx_EC(esr)		((esr) >> ESR_EC_SHIFT & ESR_EC_MASK)
#endif

#endif /* SELFTEST_KVM_PRE_FAULT_BASE_H */
