/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __ARM64_KVM_PRE_FAULT_BASE_INTERNAL_H__
#define __ARM64_KVM_PRE_FAULT_BASE_INTERNAL_H__

/*
 * Helpers for KVM_PRE_FAULT_MEMORY that differ between kernel versions, in a file of
 * their own to ease backports.
 */
#include <linux/atomic.h>
#include <linux/mm.h>

#include "pre_fault_internal.h"

#define PRE_FAULT_LAST_LEVEL		KVM_PGTABLE_LAST_LEVEL
#define PRE_FAULT_WALK			(KVM_PGTABLE_WALK_LEAF | KVM_PGTABLE_WALK_SHARED)

#define pre_fault_vcpu_initialized(v)	kvm_vcpu_initialized(v)

/* One more than for a guest page fault: a walk may allocate a table in vain. */
#define pre_fault_min_pages(kvm)	(kvm_mmu_cache_min_pages(&(kvm)->arch.mmu) + 1)

/* With MTE, each page's tags are cleared.  guest_memfd is not in host page tables. */
#define pre_fault_may_batch(kvm, slot)	(!kvm_has_mte(kvm) && !kvm_slot_has_gmem(slot))

/* The address bits of the stage-2 PTE for the host PTE's page */
#define pre_fault_pte_addr(host)	kvm_phys_to_pte(__pte_to_phys(host))

/* All other bits */
static inline kvm_pte_t pre_fault_pte_attr(kvm_pte_t pte)
{
	return pte & ~kvm_phys_to_pte(kvm_pte_to_phys(pte));
}

static inline int pre_fault_visit_leaf(const struct kvm_pgtable_visit_ctx *ctx,
				       enum kvm_pgtable_walk_flags visit)
{
	*(struct pre_fault_leaf *)ctx->arg = (struct pre_fault_leaf) {
		.ptep	= ctx->ptep,
		.pte	= ctx->old,
		.level	= ctx->level,
	};

	return 0;
}

/* Returns -EAGAIN if another vCPU has mapped @addr or uses a table there. */
static inline int pre_fault_stage2_map(struct kvm_vcpu *vcpu, u64 addr, u64 size,
				       u64 phys, enum kvm_pgtable_prot prot)
{
	return kvm_pgtable_stage2_map(vcpu->kvm->arch.mmu.pgt, addr, size, phys, prot,
				      &vcpu->arch.mmu_page_cache,
				      KVM_PGTABLE_WALK_SHARED |
				      KVM_PGTABLE_WALK_NO_REPLACE);
}

/*
 * Set a PTE that is 0, after cache maintenance: the guest must not read stale data.
 * Returns false if another vCPU changed the PTE.
 */
static inline bool pre_fault_set_pte(kvm_pte_t *ptep, kvm_pte_t pte)
{
	return cmpxchg_release(ptep, 0, pte) == 0;
}

/* Writable PTEs do not report the guest's writes. */
#define pre_fault_may_write_clean_page(pfn)	kvm_pre_fault_may_dirty(pfn)

/* Anonymous memory after MADV_FREE, in a THP or not */
static inline bool pre_fault_is_lazyfree(struct page *page)
{
	struct folio *folio = page_folio(page);

	return folio_test_lazyfree(folio) && !folio_test_hugetlb(folio);
}

/* Find out how to map a page that is held.  Follow kvm_s2_fault_pin_pfn(). */
static inline int pre_fault_check_vma(struct kvm *kvm, vm_flags_t vm_flags,
				      bool cacheable, struct pre_fault_page *p)
{
	p->may_block = true;

	/* As in a batch, do not undo MADV_FREE. */
	if (p->page && pre_fault_is_lazyfree(p->page))
		p->writable = false;

	if (vm_flags & (VM_PFNMAP | VM_MIXEDMAP) && !pfn_is_map_memory(p->pfn)) {
		if (!cacheable) {
			p->type = vm_flags & VM_ALLOW_ANY_UNCACHED ?
				  KVM_PGTABLE_PROT_NORMAL_NC :
				  KVM_PGTABLE_PROT_DEVICE;
			return 0;
		}
		if (!kvm_supports_cacheable_pfnmap())
			return -EFAULT;
	}

	/* The guest can access the tags of all memory that is cacheable. */
	return kvm_has_mte(kvm) && !(vm_flags & VM_MTE_ALLOWED) ? -EFAULT : 0;
}

static inline int pre_fault_lookup_user(struct kvm *kvm,
					const struct kvm_memory_slot *slot,
					gfn_t gfn, struct pre_fault_page *p)
{
	struct vm_area_struct *vma;
	vm_flags_t vm_flags = 0;
	bool cacheable = false;
	int r;

	if (mmap_read_lock_killable(kvm->mm))
		return -EINTR;

	vma = vma_lookup(kvm->mm, p->hva);
	if (vma) {
		vm_flags = vma->vm_flags;
		cacheable = kvm_vma_is_cacheable(vma);
	}
	mmap_read_unlock(kvm->mm);
	if (!vma)
		return -EFAULT;

	p->pfn = __kvm_faultin_pfn(slot, gfn, FOLL_INTERRUPTIBLE, &p->writable,
				   &p->page);
	if (p->pfn == KVM_PFN_ERR_HWPOISON)
		return -EHWPOISON;
	/* Try again: the caller checks for signals. */
	if (is_sigpending_pfn(p->pfn))
		return -EAGAIN;
	if (is_error_noslot_pfn(p->pfn))
		return -EFAULT;

	r = pre_fault_check_vma(kvm, vm_flags, cacheable, p);
	if (r)
		kvm_release_page_unused(p->page);

	return r;
}

/*
 * Look up the host page of @gfn as a guest read would, without a signal for a
 * poisoned page.  The result is final only if mmu_invalidate_seq is found
 * unchanged under mmu_lock.
 *
 * Returns 0 with a reference held, -EAGAIN to try again, -EFAULT if the memory can't
 * be read or is not for a VM with MTE, -EHWPOISON, -EINTR.
 */
static inline int pre_fault_lookup(struct kvm *kvm, struct kvm_memory_slot *slot,
				   gfn_t gfn, struct pre_fault_page *p)
{
	*p = (struct pre_fault_page) {
		.hva		= __gfn_to_hva_memslot(slot, gfn),
		.mmu_seq	= READ_ONCE(kvm->mmu_invalidate_seq),
		/* For guest_memfd; a lookup of other memory sets it. */
		.writable	= true,
	};
	/* Before the VMA and its pages are looked up, see mmu_invalidate_retry(). */
	smp_rmb();

	return kvm_slot_has_gmem(slot) ?
	       kvm_gmem_get_pfn(kvm, slot, gfn, &p->pfn, &p->page, NULL) :
	       pre_fault_lookup_user(kvm, slot, gfn, p);
}

/* Device memory has no tags.  mmu_lock is held. */
static inline int pre_fault_sanitise_tags(struct kvm *kvm, struct pre_fault_page *p,
					  kvm_pfn_t pfn, u64 size)
{
	if (p->page && kvm_has_mte(kvm))
		kvm_sanitise_mte_tags(kvm, pfn, size);

	return 0;
}

/* Mark the page dirty before mmu_lock is dropped, as reclaim may start then. */
static inline void pre_fault_set_dirty(struct pre_fault_page *p)
{
	if (p->page && !PageReserved(p->page))
		SetPageDirty(p->page);
}

/* Unlike kvm_release_faultin_page(), do not mark the page as accessed. */
#define pre_fault_release(p)		kvm_release_page_unused((p)->page)

#endif /* __ARM64_KVM_PRE_FAULT_BASE_INTERNAL_H__ */
