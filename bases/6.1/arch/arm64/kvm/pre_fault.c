// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY for arm64: map a page in the VM's own stage-2 as a guest
 * read would, without a guest.  Unlike a guest page fault, a pre-fault does not
 * modify valid PTEs, and does not replace a table by a block.
 *
 * virt/kvm/pre_fault_host.c copies host PTEs, up to a table at a time.  The rest is
 * mapped one page at a time.  Either way mmu_lock is held for write.
 */
#include <linux/kvm_host.h>
#include <linux/kvm_pre_fault.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>

#include <asm/kvm_mmu.h>
#include <asm/kvm_pgtable.h>
#include <asm/virt.h>

#include "pre_fault_internal.h"

/*
 * Return the size of the new mapping, given the size of the host's mapping and the
 * level of the invalid PTE.  A table is never replaced by a block: all tables are
 * in use, as empty tables are freed.
 */
static u64 pre_fault_size(const struct kvm_memory_slot *slot, hva_t hva,
			  u64 host_size, u32 level)
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
 * Map @pfn, or the huge page that it is part of, unless @gpa is mapped.  Returns
 * the size of the mapping at @gpa, or -errno.  mmu_lock is held for write.
 */
static long pre_fault_map(struct kvm_vcpu *vcpu, const struct kvm_memory_slot *slot,
			  gpa_t gpa, hva_t hva, kvm_pfn_t pfn, bool writable)
{
	const bool device = !pfn_is_map_memory(pfn);
	struct kvm *kvm = vcpu->kvm;
	struct kvm_pgtable *pgt = kvm->arch.mmu.pgt;
	struct pre_fault_leaf leaf;
	u64 size = PAGE_SIZE;
	int r;

	r = pre_fault_find_leaf(pgt, gpa, &leaf);
	if (r)
		return r;

	if (kvm_pte_valid(*leaf.ptep))
		return kvm_granule_size(leaf.level);

	if (!device && !kvm_memslot_is_logging(slot)) {
		r = kvm_user_mapping_size(kvm, hva);
		if (r < 0)
			return r;
		size = pre_fault_size(slot, hva, r, leaf.level);
		pfn = ALIGN_DOWN(pfn, size >> PAGE_SHIFT);
	}

	if (!device) {
		r = kvm_sanitise_mte_tags(kvm, pfn, size);
		if (r)
			return r;
	}

	r = kvm_pgtable_stage2_map(pgt, ALIGN_DOWN(gpa, size), size,
				   __pfn_to_phys(pfn),
				   pre_fault_prot(writable, device),
				   &vcpu->arch.mmu_page_cache);
	if (r)
		return r;

	/* In a slot with dirty logging nothing is writable. */
	if (writable)
		kvm_set_pfn_dirty(pfn);
	vcpu->stat.pf_prefaulted += size >> PAGE_SHIFT;

	return size;
}

/* A guest with MTE can access a page's tags: reject shared mappings. */
static int pre_fault_check_mte(struct kvm *kvm, hva_t hva, kvm_pfn_t pfn)
{
	struct vm_area_struct *vma;
	int r = -EFAULT;

	if (!kvm_has_mte(kvm) || !pfn_is_map_memory(pfn))
		return 0;

	if (mmap_read_lock_killable(kvm->mm))
		return -EINTR;

	vma = vma_lookup(kvm->mm, hva);
	if (vma && !(vma->vm_flags & VM_SHARED))
		r = 0;
	mmap_read_unlock(kvm->mm);

	return r;
}

/* Returns the size of the mapping at @gpa, 0 to try again, or -errno. */
static long pre_fault_page(struct kvm_vcpu *vcpu, const struct kvm_memory_slot *slot,
			   gpa_t gpa)
{
	struct kvm *kvm = vcpu->kvm;
	unsigned long mmu_seq;
	bool writable;
	kvm_pfn_t pfn;
	hva_t hva;
	long r;

	mmu_seq = READ_ONCE(kvm->mmu_invalidate_seq);
	/* Before the host's page tables are read, see mmu_invalidate_retry(). */
	smp_rmb();

	r = kvm_pre_fault_pfn(kvm, slot, gpa_to_gfn(gpa), &pfn, &writable, &hva);
	if (r)
		return r;

	r = pre_fault_check_mte(kvm, hva, pfn);
	if (r)
		goto out_release;

	/*
	 * Enabling dirty logging installs a new memslot and waits for SRCU readers
	 * of the old one, before write-protecting the PTEs that they installed.
	 */
	writable = writable && pre_fault_slot_writable(slot);

	write_lock(&kvm->mmu_lock);
	if (mmu_invalidate_retry(kvm, mmu_seq))
		r = 0;
	else
		r = pre_fault_map(vcpu, slot, gpa, hva, pfn, writable);
	write_unlock(&kvm->mmu_lock);

	/* The host unmapped the page: try again, as that is no error. */
	if (r == -EAGAIN)
		r = 0;

out_release:
	kvm_release_pfn_clean(pfn);
	return r;
}

/*
 * Map memory from @gpa on.  Returns the number of bytes mapped, 0 if another
 * task has changed the host's or the VM's page tables meanwhile, or -errno.
 */
static long pre_fault_step(struct kvm_vcpu *vcpu, gpa_t gpa, u64 size)
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

	/* With MTE, each page's tags have to be sanitised. */
	if (!kvm_has_mte(kvm)) {
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
 * Returns the number of bytes that are mapped, or -errno: -EAGAIN if the memslot is
 * being deleted or moved, -EFAULT if the host memory can't be read, or is shared
 * and the VM has MTE, -EHWPOISON, -EINTR, -ENOENT without a memslot, -ENOEXEC before
 * KVM_ARM_VCPU_INIT, -ENOMEM, -EOPNOTSUPP in protected mode.
 */
long kvm_arch_vcpu_pre_fault_memory(struct kvm_vcpu *vcpu,
				    struct kvm_pre_fault_memory *range)
{
	long r;

	if (is_protected_kvm_enabled())
		return -EOPNOTSUPP;

	if (vcpu->arch.target < 0)
		return -ENOEXEC;

	for (;;) {
		r = pre_fault_step(vcpu, range->gpa, range->size);
		if (r)
			return r;

		if (signal_pending(current))
			return -EINTR;
		cond_resched();
	}
}
