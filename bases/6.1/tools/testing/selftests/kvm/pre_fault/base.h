/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names of the newest selftest library that Linux 6.1 lacks.
 */
#ifndef SELFTEST_KVM_PRE_FAULT_BASE_H
#define SELFTEST_KVM_PRE_FAULT_BASE_H

#include "test_util.h"
#include "kvm_util.h"
#include "processor.h"

typedef vm_paddr_t gpa_t;
typedef vm_vaddr_t gva_t;

#define vm_alloc_page(vm)		vm_vaddr_alloc_page(vm)
#define vm_alloc_pages(vm, nr)		vm_vaddr_alloc_pages(vm, nr)
#define vm_get_stat(vm, stat)		vm_get_stat(vm, #stat)

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

static inline void kvm_arch_vm_finalize_vcpus(struct kvm_vm *vm)
{
}

static inline u64 vm_pgd(struct kvm_vm *vm)
{
	return vm->pgd;
}

static inline int vm_pgtable_levels(struct kvm_vm *vm)
{
	return vm->pgtable_levels;
}

/* Disabling dirty logging replaces page tables of the TDP MMU with large mappings. */
#define PF_RECOVERS_HUGE	false

/* A write to the huge zero page allocates a huge page. */
#define PF_COPIES_HUGE_ZERO	false

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

#ifdef __x86_64__

/* EOPNOTSUPP while the vCPU runs a nested guest without nested paging */
#define PF_REFUSES_L2	true

#include "svm_util.h"
#include "vmx.h"

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

#define L2_STACK_WORDS	64

static inline void svm_prepare_l2(struct svm_test_data *svm, void *rip, u64 root)
{
	static unsigned long stack[L2_STACK_WORDS];

	generic_svm_setup(svm, rip, &stack[L2_STACK_WORDS]);
	if (root) {
		svm->vmcb->control.nested_ctl = SVM_NESTED_CTL_NP_ENABLE;
		svm->vmcb->control.nested_cr3 = root;
	}
}

static inline void vmx_prepare_l2(struct vmx_pages *vmx, void *rip, u64 root)
{
	static unsigned long stack[L2_STACK_WORDS];

	vmx->eptp_gpa = root;
	prepare_vmcs(vmx, rip, &stack[L2_STACK_WORDS]);
}

#endif /* __x86_64__ */

#ifdef __aarch64__
#define ESR_ELx_EC_MAX		(ESR_EC_NUM - 1)
#define ESR_ELx_EC(esr)		((esr) >> ESR_EC_SHIFT & ESR_EC_MASK)
#endif

#endif /* SELFTEST_KVM_PRE_FAULT_BASE_H */
