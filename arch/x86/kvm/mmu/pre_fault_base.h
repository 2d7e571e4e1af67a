/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVM_X86_MMU_PRE_FAULT_BASE_H
#define __KVM_X86_MMU_PRE_FAULT_BASE_H

/*
 * Helpers for the installer of KVM_PRE_FAULT_MEMORY that differ between kernel
 * versions, in a file of their own to ease backports.
 */
#include <linux/mm.h>

#include "mmu.h"
#include "mmu_internal.h"
#include "page_track.h"
#include "spte.h"
#include "tdp_iter.h"
#include "tdp_mmu.h"

/* KVM does not report the guest's writes: mark a page dirty when mapping it. */
#define PRE_FAULT_PTE_DIRTY	_PAGE_DIRTY

#define pre_fault_for_each_spte(iter, kvm, root, min_level, start, end)	\
	for_each_tdp_pte_min_level(iter, kvm, root, min_level, start, end)

static inline int pre_fault_link_sp(struct kvm *kvm, struct tdp_iter *iter,
				    struct kvm_mmu_page *sp)
{
	return tdp_mmu_link_sp(kvm, iter, sp, true);
}

/* The argument "synchronizing" of make_spte() */
#define PRE_FAULT_SYNC_ARG	false

/* Zapping an SPTE marks no page dirty. */
#define pre_fault_clean_spte(spte)	(spte)

/* Return true if each gfn has a memory type of its own. */
static inline bool pre_fault_has_memtypes(struct kvm *kvm)
{
	return false;
}

static inline int pre_fault_max_level(struct kvm_vcpu *vcpu,
				      const struct kvm_memory_slot *slot,
				      gfn_t gfn)
{
	return kvm_mmu_max_mapping_level(vcpu->kvm, NULL, slot, gfn);
}

/*
 * Return true if the gfns may be private, have an alias, or belong to
 * guest_memfd: only the fault path handles these.
 */
static inline bool pre_fault_is_special(struct kvm *kvm,
					const struct kvm_memory_slot *slot)
{
	return kvm_arch_has_private_mem(kvm) || kvm_gfn_direct_bits(kvm) ||
	       kvm_slot_has_gmem(slot);
}

/* As the fault path does: KVM does not tell the host of the guest's writes later. */
#define pre_fault_may_write_clean_page(pfn)	kvm_pre_fault_may_dirty(pfn)

#endif /* __KVM_X86_MMU_PRE_FAULT_BASE_H */
