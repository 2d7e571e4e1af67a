// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY for arm64: map a page in the VM's own stage-2 as a guest
 * read would, without a guest.  Unlike a guest page fault, a pre-fault does not
 * modify valid PTEs, and does not replace a table by a block.
 *
 * virt/kvm/pre_fault_host.c copies host PTEs, up to a table at a time.  The rest is
 * mapped one page at a time.
 */
#include <linux/kvm_host.h>
#include <linux/kvm_pre_fault.h>
#include <linux/mm.h>

#include <asm/kvm_mmu.h>
#include <asm/kvm_pgtable.h>
#include <asm/kvm_pre_fault_base.h>
#include <asm/virt.h>

#include "pre_fault_base.h"

int pre_fault_find_leaf(struct kvm_pgtable *pgt, gpa_t gpa,
			struct pre_fault_leaf *leaf)
{
	struct kvm_pgtable_walker walker = {
		.cb	= pre_fault_visit_leaf,
		.flags	= PRE_FAULT_WALK,
		.arg	= leaf,
	};

	return kvm_pgtable_walk(pgt, gpa, PAGE_SIZE, &walker);
}

int pre_fault_topup(struct kvm_vcpu *vcpu)
{
	return kvm_mmu_topup_memory_cache(&vcpu->arch.mmu_page_cache,
					  pre_fault_min_pages(vcpu->kvm));
}

/*
 * Return the size of the new mapping, given the size of the host's mapping and the
 * level of the invalid PTE.  A table is never replaced by a block: all tables are
 * in use, as empty tables are freed.
 */
static u64 pre_fault_size(const struct kvm_memory_slot *slot, hva_t hva,
			  u64 host_size, int level)
{
	const u64 size = min(host_size, kvm_granule_size(level));

	if (size >= PUD_SIZE &&
	    kvm_supports_stage2_huge_mapping(slot, hva, PUD_SIZE))
		return PUD_SIZE;

	if (size >= PMD_SIZE &&
	    kvm_supports_stage2_huge_mapping(slot, hva, PMD_SIZE))
		return PMD_SIZE;

	return PAGE_SIZE;
}

/*
 * Map @page, or the huge page that it is part of, unless @gpa is mapped.  Returns
 * the size of the mapping at @gpa, or -errno.  mmu_lock is held, see
 * kvm_pre_fault_lock().
 */
static long pre_fault_map(struct kvm_vcpu *vcpu, const struct kvm_memory_slot *slot,
			  gpa_t gpa, struct pre_fault_page *page)
{
	/*
	 * Enabling dirty logging installs a new memslot and waits for SRCU readers
	 * of the old one, before write-protecting the PTEs that they installed.
	 */
	const bool writable = page->writable && pre_fault_slot_writable(slot);
	struct kvm *kvm = vcpu->kvm;
	struct pre_fault_leaf leaf;
	kvm_pfn_t pfn = page->pfn;
	u64 size = PAGE_SIZE;
	int r;

	r = pre_fault_find_leaf(kvm->arch.mmu.pgt, gpa, &leaf);
	if (r)
		return r;

	if (kvm_pte_valid(leaf.pte))
		return kvm_granule_size(leaf.level);

	if (page->may_block && !pre_fault_is_logging(slot)) {
		r = kvm_user_mapping_size(kvm, page->hva);
		if (r < 0)
			return r;
		size = pre_fault_size(slot, page->hva, r, leaf.level);
		pfn = ALIGN_DOWN(pfn, size >> PAGE_SHIFT);
	}

	r = pre_fault_sanitise_tags(kvm, page, pfn, size);
	if (r)
		return r;

	r = pre_fault_stage2_map(vcpu, ALIGN_DOWN(gpa, size), size,
				 __pfn_to_phys(pfn),
				 pre_fault_prot(writable, page->type));
	if (r)
		return r;

	/* In a slot with dirty logging nothing is writable. */
	if (writable)
		pre_fault_set_dirty(page);
	vcpu->stat.pf_prefaulted += size >> PAGE_SHIFT;

	return size;
}

/* Returns the size of the mapping at @gpa, 0 to try again, or -errno. */
static long pre_fault_page(struct kvm_vcpu *vcpu, struct kvm_memory_slot *slot,
			   gpa_t gpa)
{
	struct kvm *kvm = vcpu->kvm;
	struct pre_fault_page page;
	long r;

	r = pre_fault_lookup(kvm, slot, gpa_to_gfn(gpa), &page);
	if (r)
		return r == -EAGAIN ? 0 : r;

	kvm_pre_fault_lock(kvm);
	if (mmu_invalidate_retry(kvm, page.mmu_seq))
		r = 0;
	else
		r = pre_fault_map(vcpu, slot, gpa, &page);
	kvm_pre_fault_unlock(kvm);

	pre_fault_release(&page);

	/* The host unmapped the page, or another vCPU mapped it: this is no error. */
	return r == -EAGAIN ? 0 : r;
}

static long pre_fault_memory(struct kvm_vcpu *vcpu, gpa_t gpa, u64 size)
{
	struct kvm *kvm = vcpu->kvm;
	struct kvm_memory_slot *slot;
	long r;

	/* Stage-2 reaches all memslots. */
	slot = gfn_to_memslot(kvm, gpa_to_gfn(gpa));
	if (!slot)
		return -ENOENT;

	/*
	 * Deleting or moving the memslot waits for this SRCU reader, so waiting
	 * for the update here would be a deadlock.
	 */
	if (slot->flags & KVM_MEMSLOT_INVALID)
		return -EAGAIN;

	if (pre_fault_may_batch(kvm, slot)) {
		r = kvm_pre_fault_host(vcpu, slot, gpa_to_gfn(gpa),
				       size >> PAGE_SHIFT);
		if (r)
			return r < 0 ? r : r << PAGE_SHIFT;
	}

	/* Nothing can be allocated under mmu_lock. */
	r = pre_fault_topup(vcpu);
	if (r)
		return r;

	r = pre_fault_page(vcpu, slot, gpa);
	if (r <= 0)
		return r;

	return min(pre_fault_rest_of(r, gpa), size);
}

/*
 * Map the start of @range in the VM's stage-2.  Called with vcpu->mutex held,
 * inside an SRCU read section of kvm->srcu, with no MMU lock held.
 *
 * Returns the number of bytes that are mapped, 0 if another task has changed the
 * host's or the VM's page tables meanwhile, or -errno: -EAGAIN if the memslot is
 * being deleted or moved, -EFAULT if the host memory can't be read, or not be used
 * for a VM with MTE, -EHWPOISON, -EINTR, -ENOENT without a memslot, -ENOEXEC before
 * KVM_ARM_VCPU_INIT, -ENOMEM, -EOPNOTSUPP in protected mode.
 */
long kvm_arch_vcpu_pre_fault_memory(struct kvm_vcpu *vcpu,
				    struct kvm_pre_fault_memory *range)
{
	if (is_protected_kvm_enabled())
		return -EOPNOTSUPP;

	if (!pre_fault_vcpu_initialized(vcpu))
		return -ENOEXEC;

	return pre_fault_memory(vcpu, range->gpa, range->size);
}
