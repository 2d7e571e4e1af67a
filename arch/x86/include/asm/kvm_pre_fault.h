/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _ASM_X86_KVM_PRE_FAULT_H
#define _ASM_X86_KVM_PRE_FAULT_H

#include <linux/kvm_host.h>
#include <linux/mm.h>

/* Kernels without this bit need no check: VMAs of device memory are rejected. */
#ifndef _PAGE_DEVMAP
#define _PAGE_DEVMAP	0
#endif

/*
 * Require a host PTE to map user memory, a normal page, with the memory type of
 * RAM.  PTEs for PROT_NONE, swap and migration are not present.
 */
#define KVM_HOST_PTE_CHECK	(_PAGE_PRESENT | _PAGE_USER | _PAGE_SPECIAL | \
				 _PAGE_DEVMAP | _PAGE_CACHE_MASK)
#define KVM_HOST_PTE_NORMAL	(_PAGE_PRESENT | _PAGE_USER)
#define KVM_HOST_PTE_ZERO	(_PAGE_PRESENT | _PAGE_USER | _PAGE_SPECIAL)

#define KVM_HOST_PMD_CHECK	(_PAGE_PRESENT | _PAGE_USER | _PAGE_PSE | \
				 _PAGE_SPECIAL | _PAGE_DEVMAP | _PAGE_PWT | \
				 _PAGE_PCD | _PAGE_PAT_LARGE)
#define KVM_HOST_PMD_HUGE	(_PAGE_PRESENT | _PAGE_USER | _PAGE_PSE)

static __always_inline pteval_t kvm_host_read_pte(pte_t *ptep)
{
	return pte_val(ptep_get(ptep));
}

/* Reject special PTEs other than that of the zero page. */
static __always_inline bool kvm_host_pte_is_zero(pteval_t pte)
{
	return (pte & (KVM_HOST_PTE_CHECK | _PAGE_RW)) == KVM_HOST_PTE_ZERO &&
	       is_zero_pfn(pte_pfn(__pte(pte)));
}

static __always_inline bool kvm_host_pte_usable(pteval_t pte)
{
	return (pte & KVM_HOST_PTE_CHECK) == KVM_HOST_PTE_NORMAL ||
	       kvm_host_pte_is_zero(pte);
}

static inline bool kvm_host_pmd_is_huge(pmd_t pmd)
{
	return (pmd_val(pmd) & KVM_HOST_PMD_CHECK) == KVM_HOST_PMD_HUGE;
}

/* The PTE that the page at @hva would have in place of the huge page @pmd */
static inline pteval_t kvm_host_pmd_to_pte(pmd_t pmd, hva_t hva)
{
	return KVM_HOST_PTE_NORMAL | (pmd_val(pmd) & (_PAGE_RW | _PAGE_DIRTY)) |
	       ((pmd_pfn(pmd) << PAGE_SHIFT) + (hva & ~PMD_MASK & PAGE_MASK));
}

/* Installing a page table of SPTEs takes a few microseconds. */
static inline unsigned int kvm_pre_fault_max_pages(void)
{
	return PTRS_PER_PTE;
}

static inline void kvm_pre_fault_lock(struct kvm *kvm)
{
	read_lock(&kvm->mmu_lock);
}

static inline void kvm_pre_fault_unlock(struct kvm *kvm)
{
	read_unlock(&kvm->mmu_lock);
}

#endif /* _ASM_X86_KVM_PRE_FAULT_H */
