/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names that differ between the selftest libraries of the supported kernels. The
 * tests use those of the newest library; others are defined here.
 */
#ifndef SELFTEST_KVM_PRE_FAULT_BASE_H
#define SELFTEST_KVM_PRE_FAULT_BASE_H

#include "test_util.h"
#include "kvm_util.h"
#include "processor.h"
#include "ucall_common.h"

static inline u64 vm_pgd(struct kvm_vm *vm)
{
	return vm->mmu.pgd;
}

static inline int vm_pgtable_levels(struct kvm_vm *vm)
{
	return vm->mmu.pgtable_levels;
}

/* Disabling dirty logging replaces page tables of the TDP MMU with large mappings. */
#define PF_RECOVERS_HUGE	true

/* A write to the huge zero page allocates a huge page. */
#define PF_COPIES_HUGE_ZERO	true

/* KVM marks a page dirty when it maps the page writable. */
#define PF_MARKS_DIRTY		true

/* A pre-fault leaves lazily freed memory reclaimable. */
#define PF_KEEPS_LAZYFREE	true

/* The ioctl loads the vCPU's root before it looks for a memslot. */
#define PF_ROOT_BEFORE_SLOT	true

#ifdef __x86_64__

/* EOPNOTSUPP while the vCPU runs a nested guest without nested paging */
#define PF_REFUSES_L2	false

#include "svm_util.h"
#include "vmx.h"

/* In L1: let L2 begin at @rip, with nested paging if there is a @root for it. */
static inline void svm_prepare_l2(struct svm_test_data *svm, void *rip, u64 root)
{
	svm->ncr3_gpa = root;
	generic_svm_setup(svm, rip);
}

static inline void vmx_prepare_l2(struct vmx_pages *vmx, void *rip, u64 root)
{
	vmx->eptp_gpa = root;
	prepare_vmcs(vmx, rip);
}

#endif /* __x86_64__ */

#endif /* SELFTEST_KVM_PRE_FAULT_BASE_H */
