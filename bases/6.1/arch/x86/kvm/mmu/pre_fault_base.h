/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVM_X86_MMU_PRE_FAULT_BASE_H
#define __KVM_X86_MMU_PRE_FAULT_BASE_H

/*
 * Helpers for the installer of KVM_PRE_FAULT_MEMORY that differ between kernel
 * versions, in a file of their own to ease backports.
 */
#include <linux/kvm_host.h>
#include <linux/list.h>

#include "mmu.h"
#include "mmu_internal.h"
#include "spte.h"
#include "tdp_iter.h"
#include "tdp_mmu.h"

/* KVM reports the guest's writes when it zaps SPTEs: clean pages need no care. */
#define PRE_FAULT_PTE_DIRTY	0

#define pre_fault_for_each_spte(iter, kvm, root, min_level, start, end)	\
	for_each_tdp_pte_min_level(iter, root, min_level, start, end)

static inline struct kvm_mmu_page *root_to_sp(hpa_t root)
{
	return to_shadow_page(root);
}

static inline int pre_fault_link_sp(struct kvm *kvm, struct tdp_iter *iter,
				    struct kvm_mmu_page *sp)
{
	return tdp_mmu_link_sp(kvm, iter, sp, false, true);
}

static inline bool is_frozen_spte(u64 spte)
{
	return is_removed_spte(spte);
}

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

/* Return true if each gfn has a memory type of its own. */
static inline bool pre_fault_has_memtypes(struct kvm *kvm)
{
	return shadow_memtype_mask && kvm_arch_has_noncoherent_dma(kvm);
}

static inline int pre_fault_max_level(struct kvm_vcpu *vcpu,
				      const struct kvm_memory_slot *slot,
				      gfn_t gfn)
{
	struct kvm_page_fault fault = {
		.addr = gfn << PAGE_SHIFT,
		.max_level = PG_LEVEL_2M,
	};

	kvm_tdp_mtrr_adjust(vcpu, &fault);

	return kvm_mmu_max_mapping_level(vcpu->kvm, slot, gfn, fault.max_level);
}

/* The list always has KVM's own node, for shadow paging. */
static inline bool kvm_page_track_has_external_user(struct kvm *kvm)
{
	return !hlist_is_singular_node(&kvm->arch.mmu_sp_tracker.node,
				       &kvm->arch.track_notifier_head.track_notifier_list);
}

/* Linux 6.1 has neither private memory nor guest_memfd. */
static inline bool pre_fault_is_special(struct kvm *kvm,
					const struct kvm_memory_slot *slot)
{
	return false;
}

static inline bool pre_fault_may_write_clean_page(kvm_pfn_t pfn)
{
	return true;
}

#endif /* __KVM_X86_MMU_PRE_FAULT_BASE_H */
