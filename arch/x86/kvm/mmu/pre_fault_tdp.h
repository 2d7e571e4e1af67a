/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVM_X86_MMU_PRE_FAULT_TDP_H
#define __KVM_X86_MMU_PRE_FAULT_TDP_H

/*
 * Helpers to inspect and link page tables of the TDP MMU for pre-faults.  mmu_lock
 * is held for read, inside an RCU read section, unless said otherwise.
 */
#include <linux/gfp.h>
#include <linux/slab.h>

#include "mmu_internal.h"
#include "pre_fault_base.h"
#include "spte.h"
#include "tdp_iter.h"
#include "tdp_mmu.h"

/*
 * Return true if the vCPU's page tables are the TDP MMU's, indexed by gpa.  The
 * vCPU has a root, and vcpu->mutex keeps it: no lock is needed.  Reject the root
 * of a nested guest: with EPT, the CPU may not set the D bits of its SPTEs.
 */
static inline bool pre_fault_has_tdp_root(struct kvm_vcpu *vcpu)
{
	struct kvm_mmu_page *root = root_to_sp(vcpu->arch.mmu->root.hpa);

	return root && is_tdp_mmu_page(root) && !root->role.guest_mode;
}

/*
 * Return true if any SPTE in the page table that @spte links is shadow-present.
 * Count links to page tables, too, as walking these would take too long.
 * With the legacy MMU, mmu_lock is held for write.
 */
static inline bool pre_fault_pt_in_use(u64 spte)
{
	u64 *pt = __va(spte_to_pfn(spte) << PAGE_SHIFT);
	int i;

	for (i = 0; i < SPTE_ENT_PER_PAGE; i++) {
		if (is_shadow_present_pte(READ_ONCE(pt[i])))
			return true;
	}

	return false;
}

/* Free a page table that was never linked: there is no walker to wait for. */
static inline void pre_fault_free_pt(struct kvm_mmu_page *sp)
{
	free_page((unsigned long)sp->spt);
	kmem_cache_free(mmu_page_header_cache, sp);
}

/* Link a new page table.  Return false if another task changed the SPTE. */
static inline bool pre_fault_link_pt(struct kvm_vcpu *vcpu, struct tdp_iter *iter)
{
	struct kvm_mmu_page *sp;

	if (is_frozen_spte(iter->old_spte))
		return false;

	sp = tdp_mmu_alloc_sp(vcpu);
	tdp_mmu_init_child_sp(sp, iter);

	if (!pre_fault_link_sp(vcpu->kvm, iter, sp))
		return true;

	pre_fault_free_pt(sp);
	return false;
}

#endif /* __KVM_X86_MMU_PRE_FAULT_TDP_H */
