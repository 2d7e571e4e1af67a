/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __ARM64_KVM_PRE_FAULT_INTERNAL_H__
#define __ARM64_KVM_PRE_FAULT_INTERNAL_H__

/* Shared by the one-page path and the installer of KVM_PRE_FAULT_MEMORY */
#include <linux/cpufeature.h>
#include <linux/kvm_host.h>

#include <asm/kvm_mmu.h>
#include <asm/kvm_pgtable.h>

/* The PTE at the end of a walk, and the value that the walk has read */
struct pre_fault_leaf {
	kvm_pte_t *ptep;
	kvm_pte_t pte;
	int level;
};

/* A host page that is looked up and held for the one-page path */
struct pre_fault_page {
	kvm_pfn_t pfn;
	hva_t hva;
	/* mmu_invalidate_seq before the lookup */
	unsigned long mmu_seq;
	/* 0 if cacheable */
	enum kvm_pgtable_prot type;
	bool writable;
	/* The page may be mapped as part of a block. */
	bool may_block;
	/* For kernels that do not hold all pages by their pfn; NULL if not held */
	struct page *page;
};

static inline u64 pre_fault_rest_of(u64 size, gpa_t gpa)
{
	return size - (gpa & (size - 1));
}

/* The memory type is 0 if cacheable. */
static inline enum kvm_pgtable_prot pre_fault_prot(bool writable,
						   enum kvm_pgtable_prot type)
{
	enum kvm_pgtable_prot prot = KVM_PGTABLE_PROT_R | type;

	if (writable)
		prot |= KVM_PGTABLE_PROT_W;

	/* Leave the instruction cache to the guest's fault. */
	if (!type && cpus_have_final_cap(ARM64_HAS_CACHE_DIC))
		prot |= KVM_PGTABLE_PROT_X;

	return prot;
}

/* Return true if KVM has to see the guest's first write to each page. */
static inline bool pre_fault_is_logging(const struct kvm_memory_slot *slot)
{
	return kvm_slot_dirty_track_enabled(slot) &&
	       !(slot->flags & KVM_MEM_READONLY);
}

/* With dirty logging, the guest's first write has to fault. */
static inline bool pre_fault_slot_writable(const struct kvm_memory_slot *slot)
{
	return !(slot->flags & KVM_MEM_READONLY) && !pre_fault_is_logging(slot);
}

/*
 * Find the PTE, valid or not, that ends the walk for @gpa.  Its page table is kept by
 * mmu_lock if that is held for write, by RCU if not.
 */
int pre_fault_find_leaf(struct kvm_pgtable *pgt, gpa_t gpa,
			struct pre_fault_leaf *leaf);

/* Allocate page tables before mmu_lock is taken.  Returns 0 or -ENOMEM. */
int pre_fault_topup(struct kvm_vcpu *vcpu);

#endif /* __ARM64_KVM_PRE_FAULT_INTERNAL_H__ */
