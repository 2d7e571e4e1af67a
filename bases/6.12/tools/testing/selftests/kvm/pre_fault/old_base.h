/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names of the newest selftest library that Linux 6.12 and older kernels lack.
 */
#ifndef SELFTEST_KVM_PRE_FAULT_OLD_BASE_H
#define SELFTEST_KVM_PRE_FAULT_OLD_BASE_H

#include "test_util.h"
#include "kvm_util.h"
#include "processor.h"

typedef vm_paddr_t gpa_t;
typedef vm_vaddr_t gva_t;

#define vm_alloc_page(vm)		vm_vaddr_alloc_page(vm)
#define vm_alloc_pages(vm, nr)		vm_vaddr_alloc_pages(vm, nr)
#define vm_get_stat(vm, stat)		vm_get_stat(vm, #stat)

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

#ifdef __x86_64__

#include "svm_util.h"
#include "vmx.h"

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

#endif /* SELFTEST_KVM_PRE_FAULT_OLD_BASE_H */
