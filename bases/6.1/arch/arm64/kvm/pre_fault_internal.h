/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __ARM64_KVM_PRE_FAULT_INTERNAL_H__
#define __ARM64_KVM_PRE_FAULT_INTERNAL_H__

/*
 * Shared by the one-page path and the installer of KVM_PRE_FAULT_MEMORY.  mmu_lock
 * is held for write.
 */
#include <linux/cpufeature.h>
#include <linux/kvm_host.h>

#include <asm/kvm_mmu.h>
#include <asm/kvm_pgtable.h>

/* The PTE at the end of a walk */
struct pre_fault_leaf {
	kvm_pte_t *ptep;
	u32 level;
};

static inline int pre_fault_leaf_visitor(u64 addr, u64 end, u32 level,
					 kvm_pte_t *ptep,
					 enum kvm_pgtable_walk_flags flag,
					 void * const arg)
{
	struct pre_fault_leaf *leaf = arg;

	leaf->ptep = ptep;
	leaf->level = level;

	return 0;
}

/* Find the PTE, valid or not, that ends the walk for @gpa. */
static inline int pre_fault_find_leaf(struct kvm_pgtable *pgt, gpa_t gpa,
				      struct pre_fault_leaf *leaf)
{
	struct kvm_pgtable_walker walker = {
		.cb	= pre_fault_leaf_visitor,
		.flags	= KVM_PGTABLE_WALK_LEAF,
		.arg	= leaf,
	};

	return kvm_pgtable_walk(pgt, gpa, PAGE_SIZE, &walker);
}

static inline u64 pre_fault_rest_of(u64 size, gpa_t gpa)
{
	return size - (gpa & (size - 1));
}

static inline enum kvm_pgtable_prot pre_fault_prot(bool writable, bool device)
{
	enum kvm_pgtable_prot prot = KVM_PGTABLE_PROT_R;

	if (writable)
		prot |= KVM_PGTABLE_PROT_W;

	if (device)
		prot |= KVM_PGTABLE_PROT_DEVICE;
	else if (cpus_have_const_cap(ARM64_HAS_CACHE_DIC))
		prot |= KVM_PGTABLE_PROT_X;

	return prot;
}

/* With dirty logging, the guest's first write has to fault. */
static inline bool pre_fault_slot_writable(const struct kvm_memory_slot *slot)
{
	return !(slot->flags & KVM_MEM_READONLY) && !kvm_memslot_is_logging(slot);
}

/* Allocate page tables before mmu_lock is taken.  Returns 0 or -ENOMEM. */
static inline int pre_fault_topup(struct kvm_vcpu *vcpu)
{
	return kvm_mmu_topup_memory_cache(&vcpu->arch.mmu_page_cache,
					  kvm_mmu_cache_min_pages(vcpu->kvm));
}

#endif /* __ARM64_KVM_PRE_FAULT_INTERNAL_H__ */
