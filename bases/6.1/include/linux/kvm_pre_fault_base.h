/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __LINUX_KVM_PRE_FAULT_BASE_H
#define __LINUX_KVM_PRE_FAULT_BASE_H

/*
 * Helpers for the generic part of KVM_PRE_FAULT_MEMORY that differ between kernel
 * versions, in a file of their own to ease backports.
 */
#include <linux/kvm_host.h>
#include <linux/pgtable.h>

/* On a 64-bit host, a PMD entry is a single word. */
static inline pmd_t kvm_pre_fault_read_pmd(pmd_t *pmdp)
{
	return READ_ONCE(*pmdp);
}

/*
 * Return true if an MMU notifier is invalidating some of the @npages pages from
 * @gfn on, whose memory is at @hva.  mmu_lock is held.
 */
static inline bool kvm_pre_fault_is_invalidated(struct kvm *kvm, gfn_t gfn,
						hva_t hva, unsigned long npages)
{
	return kvm->mmu_invalidate_in_progress &&
	       hva < kvm->mmu_invalidate_range_end &&
	       hva + (npages << PAGE_SHIFT) > kvm->mmu_invalidate_range_start;
}

#endif /* __LINUX_KVM_PRE_FAULT_BASE_H */
