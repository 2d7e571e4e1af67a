/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __ARM64_KVM_PRE_FAULT_BASE_INTERNAL_H__
#define __ARM64_KVM_PRE_FAULT_BASE_INTERNAL_H__

/*
 * Helpers for KVM_PRE_FAULT_MEMORY that differ between kernel versions.  mmu_lock is
 * held for write, so only the CPUs walk stage-2 meanwhile.
 */
#include "pre_fault_internal.h"

#define PRE_FAULT_LAST_LEVEL		(KVM_PGTABLE_MAX_LEVELS - 1)
#define PRE_FAULT_WALK			KVM_PGTABLE_WALK_LEAF

#define pre_fault_vcpu_initialized(v)	((v)->arch.target >= 0)
#define pre_fault_min_pages(kvm)	kvm_mmu_cache_min_pages(kvm)

/* With MTE, each page's tags have to be sanitised. */
#define pre_fault_may_batch(kvm, slot)	(!kvm_has_mte(kvm))

#define pre_fault_pte_addr(host)	(pte_val(host) & PTE_ADDR_MASK)
#define pre_fault_pte_attr(pte)		((pte) & ~PTE_ADDR_MASK)

static inline int pre_fault_stage2_map(struct kvm_vcpu *vcpu, u64 addr, u64 size,
				       u64 phys, enum kvm_pgtable_prot prot)
{
	return kvm_pgtable_stage2_map(vcpu->kvm->arch.mmu.pgt, addr, size, phys,
				      prot, &vcpu->arch.mmu_page_cache);
}

/* Set the PTE after cache maintenance: the guest must not read stale data. */
#define pre_fault_set_pte(ptep, pte)	({ smp_store_release(ptep, pte); true; })

#define pre_fault_may_write_clean_page(pfn)	({ kvm_set_pfn_dirty(pfn); true; })
#define pre_fault_set_dirty(p)		kvm_set_pfn_dirty((p)->pfn)
#define pre_fault_release(p)		kvm_release_pfn_clean((p)->pfn)

/* Device memory has no tags. */
#define pre_fault_sanitise_tags(kvm, p, pfn, size)				\
	((p)->type ? 0 : kvm_sanitise_mte_tags(kvm, pfn, size))

static inline int pre_fault_visit_leaf(u64 addr, u64 end, u32 level,
				       kvm_pte_t *ptep,
				       enum kvm_pgtable_walk_flags flag,
				       void * const arg)
{
	struct pre_fault_leaf *leaf = arg;

	leaf->ptep = ptep;
	leaf->pte = *ptep;
	leaf->level = level;

	return 0;
}

/* A guest with MTE can access a page's tags: reject shared mappings. */
static inline int pre_fault_check_mte(struct kvm *kvm, hva_t hva, kvm_pfn_t pfn)
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

/* Returns 0 with a reference held, or -errno. */
static inline int pre_fault_lookup(struct kvm *kvm, struct kvm_memory_slot *slot,
				   gfn_t gfn, struct pre_fault_page *p)
{
	int r;

	p->mmu_seq = READ_ONCE(kvm->mmu_invalidate_seq);
	/* Before the host's page tables are read, see mmu_invalidate_retry(). */
	smp_rmb();

	r = kvm_pre_fault_pfn(kvm, slot, gfn, &p->pfn, &p->writable, &p->hva);
	if (r)
		return r;

	p->may_block = pfn_is_map_memory(p->pfn);
	p->type = p->may_block ? 0 : KVM_PGTABLE_PROT_DEVICE;

	r = pre_fault_check_mte(kvm, p->hva, p->pfn);
	if (r)
		kvm_release_pfn_clean(p->pfn);

	return r;
}

#endif /* __ARM64_KVM_PRE_FAULT_BASE_INTERNAL_H__ */
