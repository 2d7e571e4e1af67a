/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __LINUX_KVM_PRE_FAULT_BASE_H
#define __LINUX_KVM_PRE_FAULT_BASE_H

/*
 * Helpers for the generic part of KVM_PRE_FAULT_MEMORY that differ between kernel
 * versions, in a file of their own to ease backports.
 */
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/page-flags.h>
#include <linux/pgtable.h>

/* A PMD entry of two words must not be read torn. */
static inline pmd_t kvm_pre_fault_read_pmd(pmd_t *pmdp)
{
	return pmdp_get_lockless(pmdp);
}

/*
 * Return true if an MMU notifier is invalidating some of the @npages pages from
 * @gfn on, whose memory is at @hva.  mmu_lock is held.
 */
static inline bool kvm_pre_fault_is_invalidated(struct kvm *kvm, gfn_t gfn,
						hva_t hva, unsigned long npages)
{
	return kvm->mmu_invalidate_in_progress &&
	       gfn < kvm->mmu_invalidate_range_end &&
	       gfn + npages > kvm->mmu_invalidate_range_start;
}

/*
 * Mark a host page dirty, whose host PTE is writable but clean, for kernels that do so
 * when they map a page writable.  Return false for lazily freed memory, which is not to
 * be mapped writable: marking that dirty undoes MADV_FREE.  Other anonymous memory is
 * dirty or in the swap cache.  No reference is held: the page is mapped by the host,
 * and stays mapped while mmu_lock is held.
 */
static inline bool kvm_pre_fault_may_dirty(kvm_pfn_t pfn)
{
	struct page *page = pfn_to_page(pfn);
	struct folio *folio = page_folio(page);

	if (folio_test_anon(folio) && !folio_test_dirty(folio) &&
	    !folio_test_swapcache(folio))
		return false;

	if (!PageReserved(page) && !PageDirty(page))
		SetPageDirty(page);

	return true;
}

#endif /* __LINUX_KVM_PRE_FAULT_BASE_H */
