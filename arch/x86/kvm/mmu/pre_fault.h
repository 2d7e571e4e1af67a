/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVM_X86_MMU_PRE_FAULT_H
#define __KVM_X86_MMU_PRE_FAULT_H

#include <linux/kvm_host.h>
#include <linux/mm.h>

#include "spte.h"

struct kvm_page_fault;
struct tdp_iter;

/*
 * What a host PTE must be: of user memory, of a normal page, cached as RAM is.
 * PROT_NONE, swap and migration entries are not present.
 */
#define HOST_PTE_CHECK	(_PAGE_PRESENT | _PAGE_USER | _PAGE_SPECIAL |	\
			 _PAGE_DEVMAP | _PAGE_CACHE_MASK)
#define HOST_PTE_NORMAL	(_PAGE_PRESENT | _PAGE_USER)
#define HOST_PTE_ZERO	(_PAGE_PRESENT | _PAGE_USER | _PAGE_SPECIAL)

/* Host PTEs that have these bits in common get SPTEs that differ in the pfn only. */
#define HOST_PTE_CLASS	(HOST_PTE_CHECK | _PAGE_RW)

/* Pages that are mapped together, all of them by one page table */
struct pre_fault_batch {
	struct kvm_vcpu *vcpu;
	const struct kvm_memory_slot *slot;
	gfn_t gfn;
	hva_t hva;
	unsigned int npages;
	struct kvm_page_fault *fault;

	/* New mappings, and the pages of 4K that they map */
	unsigned long fixed;
	unsigned long prefaulted;

	/* The host's PTEs, or else what its huge page would have as the first */
	pte_t *ptep;
	pteval_t huge;

	/* The page table that is filled */
	struct kvm_mmu_page *sp;
	/* SPTEs without a pfn: read-only, and as for writable pages; 0 if not made */
	u64 templates[2];
	/* The one for host PTEs of this class, 0 if there is none yet */
	u64 template;
	pteval_t class;
};

/* A special PTE may have any pfn, of which only one is fine. */
static __always_inline bool host_pte_is_zero(pteval_t pte)
{
	return (pte & HOST_PTE_CLASS) == HOST_PTE_ZERO &&
	       is_zero_pfn(pte_pfn(__pte(pte)));
}

static __always_inline bool host_pte_usable(pteval_t pte)
{
	return (pte & HOST_PTE_CHECK) == HOST_PTE_NORMAL ||
	       host_pte_is_zero(pte);
}

static __always_inline pteval_t host_pte(pte_t *ptep, pteval_t huge,
					 unsigned long i)
{
	return ptep ? pte_val(ptep_get(ptep + i)) : huge + (i << PAGE_SHIFT);
}

/* Does each gfn have a memory type of its own? */
static inline bool pre_fault_has_memtypes(struct kvm *kvm)
{
	return shadow_memtype_mask && kvm_arch_has_noncoherent_dma(kvm);
}

bool pre_fault_pt_in_use(u64 spte);
bool tdp_mmu_pre_fault_link(struct kvm_vcpu *vcpu, struct tdp_iter *iter);
unsigned long tdp_mmu_pre_fault_install(struct pre_fault_batch *b);
long tdp_mmu_pre_fault_batch(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault,
			     u64 npages);

#endif /* __KVM_X86_MMU_PRE_FAULT_H */
