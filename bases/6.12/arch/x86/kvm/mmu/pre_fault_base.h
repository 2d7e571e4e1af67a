/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVM_X86_MMU_PRE_FAULT_BASE_H
#define __KVM_X86_MMU_PRE_FAULT_BASE_H

/*
 * Helpers for the installer of KVM_PRE_FAULT_MEMORY that differ between kernel
 * versions, in a file of their own to ease backports.
 */
#include "mmu.h"
#include "mmu_internal.h"
#include "page_track.h"
#include "spte.h"
#include "tdp_iter.h"
#include "tdp_mmu.h"

/* KVM reports the guest's writes when it zaps SPTEs: clean pages need no care. */
#define PRE_FAULT_PTE_DIRTY			0
#define pre_fault_may_write_clean_page(pfn)	true

#define pre_fault_for_each_spte(iter, kvm, root, min_level, start, end)	\
	for_each_tdp_pte_min_level(iter, root, min_level, start, end)

#define pre_fault_link_sp(kvm, iter, sp)	tdp_mmu_link_sp(kvm, iter, sp, true)
#define pre_fault_has_memtypes(kvm)		false
#define pre_fault_max_level(vcpu, slot, gfn)	\
	kvm_mmu_max_mapping_level((vcpu)->kvm, slot, gfn, PG_LEVEL_2M)

/* Only the fault path handles private gfns and guest_memfd. */
#define pre_fault_is_special(kvm, slot)		\
	(kvm_arch_has_private_mem(kvm) || kvm_slot_can_be_private(slot))

/* The argument "can_unsync" of make_spte(), the opposite of the newer "synchronizing" */
#define PRE_FAULT_SYNC_ARG	true

/*
 * Zapping a dirty SPTE marks the page dirty, which would undo MADV_FREE and have clean
 * pages written to swap without a write of the guest.  The CPU sets the D bit if there
 * is one.
 */
static inline u64 pre_fault_clean_spte(u64 spte)
{
	return spte & ~spte_shadow_dirty_mask(spte);
}

#endif /* __KVM_X86_MMU_PRE_FAULT_BASE_H */
