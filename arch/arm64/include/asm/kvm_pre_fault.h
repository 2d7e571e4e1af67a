/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __ARM64_KVM_PRE_FAULT_H__
#define __ARM64_KVM_PRE_FAULT_H__

#include <linux/cpufeature.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/sizes.h>

#include <asm/kvm_pre_fault_base.h>

/* Kernels without this bit need no check: VMAs of device memory are rejected. */
#ifndef PTE_DEVMAP
#define PTE_DEVMAP	0
#endif

/*
 * Require a host PTE to map user memory and a normal page.  PTE_PXN is set for all
 * user memory except guarded control stacks, which the guest must not write to.
 */
#define KVM_HOST_PTE_CHECK	(PTE_VALID | PTE_USER | PTE_PXN | PTE_SPECIAL | \
				 PTE_DEVMAP)
#define KVM_HOST_PTE_NORMAL	(PTE_VALID | PTE_USER | PTE_PXN)
#define KVM_HOST_PTE_ZERO	(KVM_HOST_PTE_NORMAL | PTE_SPECIAL)

/*
 * Ignore that the Accessed and Dirty bits of a contiguous block may be in any of its
 * PTEs: collecting them for each PTE would read all PTEs of the block each time.
 */
static inline pteval_t kvm_host_read_pte(pte_t *ptep)
{
	return pte_val(READ_ONCE(*ptep));
}

/* Reject special PTEs other than that of the zero page. */
static inline bool kvm_host_pte_usable(pteval_t pte)
{
	const pteval_t check = pte & KVM_HOST_PTE_CHECK;

	return check == KVM_HOST_PTE_NORMAL ||
	       (check == KVM_HOST_PTE_ZERO && is_zero_pfn(pte_pfn(__pte(pte))));
}

static inline bool kvm_host_pmd_is_huge(pmd_t pmd)
{
	return pmd_trans_huge(pmd);
}

/* The PTE that the page at @hva would have in place of the huge page @pmd */
static inline pteval_t kvm_host_pmd_to_pte(pmd_t pmd, hva_t hva)
{
	return pmd_val(pmd) + (hva & ~PMD_MASK & PAGE_MASK);
}

/*
 * Without FWB, each page is cleaned from the caches under mmu_lock: map fewer
 * pages per hold of the lock.
 */
static inline unsigned int kvm_pre_fault_max_pages(void)
{
	return cpus_have_final_cap(ARM64_HAS_STAGE2_FWB) ? PTRS_PER_PTE :
							   SZ_256K >> PAGE_SHIFT;
}

#endif /* __ARM64_KVM_PRE_FAULT_H__ */
