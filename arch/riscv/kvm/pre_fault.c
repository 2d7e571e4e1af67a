// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY for RISC-V: map a page in the G-stage as a guest read would,
 * without a guest.  Unlike a guest page fault, a pre-fault does not modify leaves,
 * and does not replace a table in use by a leaf.
 *
 * virt/kvm/pre_fault_host.c copies host PTEs, up to a table at a time.  The rest is
 * mapped one page at a time.
 */
#include <linux/kvm_host.h>
#include <linux/kvm_pre_fault.h>
#include <linux/mm.h>

#include <asm/kvm_gstage.h>
#include <asm/kvm_mmu.h>

#include "pre_fault_internal.h"

/* A host page that is looked up and held */
struct pre_fault_page {
	kvm_pfn_t pfn;
	hva_t hva;
	/* mmu_invalidate_seq before the lookup */
	unsigned long mmu_seq;
	bool writable;
	/* NULL if not held */
	struct page *page;
};

/* Marking anonymous memory dirty after MADV_FREE would undo that. */
static bool pre_fault_is_lazyfree(struct page *page)
{
	struct folio *folio = page_folio(page);

	return folio_test_lazyfree(folio) && !folio_test_hugetlb(folio);
}

/*
 * Look up the host page of @gfn as a guest read would, without a signal for a
 * poisoned page.  The result is final only if mmu_invalidate_seq is found
 * unchanged under mmu_lock.
 *
 * Returns 0 with a reference held, -EAGAIN to try again, -EFAULT if the memory can't
 * be read, -EHWPOISON.
 */
static int pre_fault_lookup(struct kvm *kvm, const struct kvm_memory_slot *slot,
			    gfn_t gfn, struct pre_fault_page *p)
{
	*p = (struct pre_fault_page) {
		.hva		= __gfn_to_hva_memslot(slot, gfn),
		.mmu_seq	= READ_ONCE(kvm->mmu_invalidate_seq),
	};
	/* Before the page is looked up, see mmu_invalidate_retry(). */
	smp_rmb();

	p->pfn = __kvm_faultin_pfn(slot, gfn, FOLL_INTERRUPTIBLE, &p->writable,
				   &p->page);
	if (p->pfn == KVM_PFN_ERR_HWPOISON)
		return -EHWPOISON;
	/* The caller tries again, and checks for signals. */
	if (is_sigpending_pfn(p->pfn))
		return -EAGAIN;
	if (is_error_noslot_pfn(p->pfn))
		return -EFAULT;

	if (p->page && pre_fault_is_lazyfree(p->page))
		p->writable = false;

	return 0;
}

/*
 * Return the level of the new leaf, given the level of the entry that ends the walk.
 * A table that is in use is kept, one that is not gives way to a leaf of 2M.
 */
static u32 pre_fault_level(struct kvm *kvm, const struct kvm_memory_slot *slot,
			   hva_t hva, const pte_t *ptep, u32 level)
{
	const unsigned long host_size = kvm_riscv_user_mapping_size(kvm, hva);

	if (level >= 2 && host_size >= PUD_SIZE &&
	    kvm_riscv_supports_huge_mapping(slot, hva, PUD_SIZE))
		return 2;

	if (host_size >= PMD_SIZE &&
	    kvm_riscv_supports_huge_mapping(slot, hva, PMD_SIZE) &&
	    (level || pre_fault_table_is_empty(ptep)))
		return 1;

	return 0;
}

/*
 * Map @page, or the huge page that it is part of, unless @gpa is mapped.  Returns
 * the size of the mapping at @gpa, or -errno.  mmu_lock is held for write.
 */
static long pre_fault_map(struct kvm_vcpu *vcpu, const struct kvm_memory_slot *slot,
			  gpa_t gpa, const struct pre_fault_page *page)
{
	/*
	 * Enabling dirty logging installs a new memslot and waits for SRCU readers
	 * of the old one, before write-protecting the leaves that they installed.
	 */
	const bool writable = page->writable && pre_fault_slot_writable(slot);
	struct kvm_gstage_mapping map = {};
	struct kvm_gstage gstage;
	pte_t *ptep;
	u32 level;
	u64 size;
	int r;

	kvm_riscv_gstage_init(&gstage, vcpu->kvm);
	if (kvm_riscv_gstage_get_leaf(&gstage, gpa, &ptep, &level))
		return pre_fault_level_size(level);

	if (!pre_fault_is_logging(slot))
		map.level = pre_fault_level(vcpu->kvm, slot, page->hva, ptep, level);

	size = pre_fault_level_size(map.level);
	map.addr = ALIGN_DOWN(gpa, size);
	map.pte = pre_fault_leaf(ALIGN_DOWN(page->pfn, size >> PAGE_SHIFT), writable);

	r = kvm_riscv_gstage_set_pte(&gstage, &vcpu->arch.mmu_page_cache, &map);
	if (r)
		return r;

	/* Mark the page dirty before mmu_lock is dropped, as reclaim may start then. */
	if (writable && page->page && !PageReserved(page->page))
		SetPageDirty(page->page);
	vcpu->stat.pf_prefaulted += size >> PAGE_SHIFT;

	return size;
}

/* Returns the size of the mapping at @gpa, 0 to try again, or -errno. */
static long pre_fault_page(struct kvm_vcpu *vcpu, const struct kvm_memory_slot *slot,
			   gpa_t gpa)
{
	struct kvm *kvm = vcpu->kvm;
	struct pre_fault_page page;
	long r;

	r = pre_fault_lookup(kvm, slot, gpa_to_gfn(gpa), &page);
	if (r)
		return r == -EAGAIN ? 0 : r;

	write_lock(&kvm->mmu_lock);
	if (mmu_invalidate_retry(kvm, page.mmu_seq))
		r = 0;
	else
		r = pre_fault_map(vcpu, slot, gpa, &page);
	write_unlock(&kvm->mmu_lock);

	/* Unlike kvm_release_faultin_page(), do not mark the page as accessed. */
	kvm_release_page_unused(page.page);

	return r;
}

/*
 * Map the start of @range in the VM's G-stage.  Called with vcpu->mutex held,
 * inside an SRCU read section of kvm->srcu, with no MMU lock held.
 *
 * Returns the number of bytes that are mapped, 0 if another task has changed the
 * host's page tables meanwhile, or -errno: -EAGAIN if the memslot is being deleted or
 * moved, -EFAULT if the host memory can't be read, -EHWPOISON, -EINTR, -ENOENT
 * without a memslot, -ENOMEM.
 */
long kvm_arch_vcpu_pre_fault_memory(struct kvm_vcpu *vcpu,
				    struct kvm_pre_fault_memory *range)
{
	struct kvm_memory_slot *slot;
	long r;

	/* The G-stage reaches all memslots. */
	slot = gfn_to_memslot(vcpu->kvm, gpa_to_gfn(range->gpa));
	if (!slot)
		return -ENOENT;

	/*
	 * Deleting or moving the memslot waits for this SRCU reader, so waiting
	 * for the update here would be a deadlock.
	 */
	if (slot->flags & KVM_MEMSLOT_INVALID)
		return -EAGAIN;

	r = kvm_pre_fault_host(vcpu, slot, gpa_to_gfn(range->gpa),
			       range->size >> PAGE_SHIFT);
	if (r)
		return r < 0 ? r : r << PAGE_SHIFT;

	/* Nothing can be allocated under mmu_lock. */
	r = pre_fault_topup(vcpu);
	if (r)
		return r;

	r = pre_fault_page(vcpu, slot, range->gpa);
	if (r <= 0)
		return r;

	return min(pre_fault_rest_of(r, range->gpa), range->size);
}
