/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __RISCV_KVM_PRE_FAULT_H__
#define __RISCV_KVM_PRE_FAULT_H__

#include <linux/bits.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>

#define pteval_t	unsigned long

/* The pfn does not begin at the bit of the address. */
#define KVM_HOST_PTE_PFN_SHIFT	_PAGE_PFN_SHIFT

/*
 * Require a host PTE to map user memory and a normal page.  The bits above the pfn are
 * the memory type, NAPOT, which other PTEs of the page share, and reserved ones.
 */
#define KVM_HOST_PTE_NORMAL	(_PAGE_PRESENT | _PAGE_READ | _PAGE_USER)
#define KVM_HOST_PTE_CHECK	(KVM_HOST_PTE_NORMAL | _PAGE_SPECIAL | GENMASK(63, 54))

static inline pteval_t kvm_host_read_pte(pte_t *ptep)
{
	return pte_val(READ_ONCE(*ptep));
}

/* Reject special PTEs other than that of the zero page. */
static inline bool kvm_host_pte_usable(pteval_t pte)
{
	/* The memory type of normal memory is not 0 on every CPU. */
	const pteval_t normal = KVM_HOST_PTE_NORMAL | pte_val(pfn_pte(0, __pgprot(0)));
	const pteval_t check = pte & KVM_HOST_PTE_CHECK &
			       ~(_PAGE_SOFT_DIRTY | _PAGE_UFFD);

	return check == normal ||
	       (check == (normal | _PAGE_SPECIAL) && is_zero_pfn(pte_pfn(__pte(pte))));
}

static inline bool kvm_host_pmd_is_huge(pmd_t pmd)
{
	return pmd_leaf(pmd);
}

/* The PTE that the page at @hva would have in place of the huge page @pmd */
static inline pteval_t kvm_host_pmd_to_pte(pmd_t pmd, hva_t hva)
{
	return pmd_val(pmd) + ((hva & ~PMD_MASK) >> PAGE_SHIFT << _PAGE_PFN_SHIFT);
}

static inline unsigned int kvm_pre_fault_max_pages(void)
{
	return PTRS_PER_PTE;
}

/* As in a guest page fault that maps a page, nothing else reads or changes the G-stage. */
#define kvm_pre_fault_lock(kvm)		write_lock(&(kvm)->mmu_lock)
#define kvm_pre_fault_unlock(kvm)	write_unlock(&(kvm)->mmu_lock)

#endif /* __RISCV_KVM_PRE_FAULT_H__ */
