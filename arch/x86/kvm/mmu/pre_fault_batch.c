// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY for x86: install a page table's worth of SPTEs from the
 * host's PTEs.  pre_fault_host.c tells why that is safe.
 */
#include <linux/kvm_host.h>
#include <linux/list.h>

#include "mmu.h"
#include "mmu_internal.h"
#include "mmutrace.h"
#include "pre_fault.h"
#include "spte.h"
#include "tdp_iter.h"
#include "tdp_mmu.h"

/*
 * Is all that make_spte() puts into an SPTE besides the pfn the same for all
 * gfns?  Not if some are write-protected for shadow paging or an external user
 * of page tracking, which can't begin while mmu_lock is held; nor if each has a
 * memory type.
 */
static bool batch_has_templates(struct kvm *kvm)
{
	return !kvm->arch.indirect_shadow_pages &&
	       hlist_is_singular_node(&kvm->arch.mmu_sp_tracker.node,
				      &kvm->arch.track_notifier_head.track_notifier_list) &&
	       !pre_fault_has_memtypes(kvm);
}

/* Make the SPTE for the i-th page's host PTE, but without the pfn. */
static u64 batch_make_template(struct pre_fault_batch *b, unsigned long i,
			       pteval_t pte, bool reusable)
{
	bool writable = (pte & _PAGE_RW) && !(b->slot->flags & KVM_MEM_READONLY);
	const kvm_pfn_t pfn = pte_pfn(__pte(pte));
	unsigned int access = ACC_ALL;
	u64 spte, mmu_writable = 0;

	/*
	 * With dirty logging, the guest's first write has to be noticed.  To
	 * make the SPTE writable is then all that is to be done, which needs
	 * no lock if the SPTE says that it may be.
	 */
	if (writable && kvm_slot_dirty_track_enabled(b->slot)) {
		access &= ~ACC_WRITE_MASK;
		writable = reusable;
		mmu_writable = reusable ? shadow_mmu_writable_mask : 0;
	}

	make_spte(b->vcpu, b->sp, b->slot, access, b->gfn + i, pfn, 0, true,
		  true, writable, &spte);

	return (spte & ~((u64)pfn << PAGE_SHIFT)) | mmu_writable;
}

/*
 * Get the template for the i-th page's host PTE, 0 if no SPTE is to be made of
 * that.  Where it is good for more pages than this one, remember it.
 */
static noinline u64 batch_template(struct pre_fault_batch *b, unsigned long i,
				   pteval_t pte)
{
	u64 *template = &b->templates[!!(pte & _PAGE_RW)];

	if (!host_pte_usable(pte))
		return 0;

	if (!*template) {
		if (!batch_has_templates(b->vcpu->kvm))
			return batch_make_template(b, i, pte, false);
		*template = batch_make_template(b, i, pte, true);
	}

	if (!(pte & _PAGE_SPECIAL)) {
		b->class = pte & HOST_PTE_CLASS;
		b->template = *template;
	}

	return *template;
}

static u64 *batch_sptep(struct pre_fault_batch *b)
{
	return b->sp->spt + SPTE_INDEX(b->gfn << PAGE_SHIFT, PG_LEVEL_4K);
}

/*
 * Fill a page table that nobody else has seen yet.  All that the loop needs is
 * local to it, as the compiler has to assume that an SPTE may be part of @b.
 */
static __always_inline unsigned long
__batch_fill_new(struct pre_fault_batch *b, pte_t *ptep, const pteval_t huge)
{
	u64 *sptep = batch_sptep(b);
	const unsigned long npages = b->npages;
	const u64 pfn_mask = PTE_PFN_MASK;
	pteval_t class = 0, pte, diff;
	u64 template = 0, t;
	unsigned long i;

	for (i = 0; i < npages; i++) {
		for (; template && i < npages; i++) {
			diff = host_pte(ptep, huge, i) ^ class;
			if (diff & HOST_PTE_CLASS)
				break;
			sptep[i] = template | (diff & pfn_mask);
		}
		if (i == npages)
			break;

		/* Zero pages don't change the class, as they often are between. */
		pte = host_pte(ptep, huge, i);
		t = b->templates[0];
		if (!t || !host_pte_is_zero(pte)) {
			t = batch_template(b, i, pte);
			if (!t)
				break;
			class = b->class;
			template = b->template;
		}
		sptep[i] = t | (pte & pfn_mask);
	}

	return i;
}

static unsigned long batch_fill_new(struct pre_fault_batch *b)
{
	return b->ptep ? __batch_fill_new(b, b->ptep, 0) :
			 __batch_fill_new(b, NULL, b->huge);
}

/*
 * Fill the gaps of a page table that is in use.  What is present stays, and so
 * does what another task has frozen.
 */
static unsigned long batch_fill(struct pre_fault_batch *b, unsigned long *installed)
{
	u64 *sptep = batch_sptep(b);
	unsigned long i;
	u64 old, t;
	pteval_t pte;

	for (i = 0; i < b->npages; i++) {
		old = READ_ONCE(sptep[i]);
		if (is_shadow_present_pte(old))
			continue;
		if (is_removed_spte(old))
			break;

		pte = host_pte(b->ptep, b->huge, i);
		t = b->template;
		if (!t || (pte & HOST_PTE_CLASS) != b->class)
			t = batch_template(b, i, pte);
		if (!t)
			break;

		if (try_cmpxchg64(sptep + i, &old, t | (pte & PTE_PFN_MASK)))
			(*installed)++;
		else if (!is_shadow_present_pte(old))
			break;
	}

	return i;
}

/*
 * Walk down to the SPTE that is for the last-level page table over @gfn, or for
 * a huge page there, and have all page tables above exist.
 */
static bool batch_walk(struct kvm_vcpu *vcpu, struct tdp_iter *iter, gfn_t gfn)
{
	struct kvm_mmu_page *root = to_shadow_page(vcpu->arch.mmu->root.hpa);

	for_each_tdp_pte_min_level((*iter), root, PG_LEVEL_2M, gfn, gfn + 1) {
		if (iter->level == PG_LEVEL_2M)
			return true;

		if (is_shadow_present_pte(iter->old_spte)) {
			if (is_last_spte(iter->old_spte, iter->level))
				return true;
		} else if (!tdp_mmu_pre_fault_link(vcpu, iter)) {
			return false;
		}
	}

	return false;
}

/*
 * mmu_invalidate_retry_hva() for a range: for all of the huge page, if that is
 * what the host has.
 */
static bool batch_is_invalidated(struct pre_fault_batch *b)
{
	hva_t end = b->hva + ((hva_t)b->npages << PAGE_SHIFT);
	struct kvm *kvm = b->vcpu->kvm;
	hva_t start = b->hva;

	lockdep_assert_held_read(&kvm->mmu_lock);

	if (!b->ptep) {
		start &= PMD_MASK;
		end = start + PMD_SIZE;
	}

	return kvm->mmu_invalidate_in_progress &&
	       start < kvm->mmu_invalidate_range_end &&
	       end > kvm->mmu_invalidate_range_start;
}

/*
 * Is the host's huge page to be mapped as such by the SPTE at @iter?  Under
 * mmu_lock, as the answer changes when a gfn in it gets write-protected.  A page
 * table stays if it is in use, or keeps code from being in a huge page.
 */
static bool batch_is_huge(struct pre_fault_batch *b, struct tdp_iter *iter)
{
	if (b->ptep || kvm_slot_dirty_track_enabled(b->slot) ||
	    kvm_mmu_max_mapping_level(b->vcpu->kvm, b->slot, b->gfn,
				      b->fault->max_level) == PG_LEVEL_4K)
		return false;

	return !is_shadow_present_pte(iter->old_spte) ||
	       !(b->fault->nx_huge_page_workaround_enabled ||
		 pre_fault_pt_in_use(iter->old_spte));
}

/* Map all of the host's huge page by the SPTE at @iter. */
static unsigned long batch_install_huge(struct pre_fault_batch *b,
					struct tdp_iter *iter)
{
	struct kvm_page_fault fault = *b->fault;

	fault.goal_level = PG_LEVEL_2M;
	fault.pfn = pte_pfn(__pte(b->huge)) & ~(KVM_PAGES_PER_HPAGE(PG_LEVEL_2M) - 1);
	fault.map_writable = (b->huge & _PAGE_RW) &&
			     !(b->slot->flags & KVM_MEM_READONLY);

	if (tdp_mmu_map_handle_target_level(b->vcpu, &fault, iter) != RET_PF_FIXED)
		return 0;

	b->fixed++;
	b->prefaulted += KVM_PAGES_PER_HPAGE(PG_LEVEL_2M);

	return b->npages;
}

/* Returns how many pages are mapped now, from the first one on. */
static unsigned long batch_install(struct pre_fault_batch *b)
{
	struct kvm_vcpu *vcpu = b->vcpu;
	unsigned long n, installed = 0;
	struct tdp_iter iter;

	if (!batch_walk(vcpu, &iter, b->gfn) || is_removed_spte(iter.old_spte))
		return 0;

	if (is_shadow_present_pte(iter.old_spte) &&
	    is_last_spte(iter.old_spte, iter.level)) {
		n = KVM_PAGES_PER_HPAGE(iter.level) - (b->gfn - iter.gfn);
		return min_t(unsigned long, n, b->npages);
	}

	if (batch_is_huge(b, &iter))
		return batch_install_huge(b, &iter);

	if (is_shadow_present_pte(iter.old_spte)) {
		b->sp = spte_to_child_sp(iter.old_spte);
		n = batch_fill(b, &installed);
	} else {
		b->sp = tdp_mmu_alloc_sp(vcpu);
		tdp_mmu_init_child_sp(b->sp, &iter);
		n = batch_fill_new(b);

		/* Who sees the page table linked sees it filled. */
		if (tdp_mmu_link_sp(vcpu->kvm, &iter, b->sp, false, true)) {
			tdp_mmu_free_sp(b->sp);
			return 0;
		}
		installed = n;
	}

	if (installed)
		kvm_update_page_stats(vcpu->kvm, PG_LEVEL_4K, installed);
	b->fixed += installed;
	b->prefaulted += installed;
	trace_kvm_mmu_pre_fault_batch(b->gfn, n, installed,
				      READ_ONCE(*batch_sptep(b)));

	return n;
}

/**
 * tdp_mmu_pre_fault_install - map a batch of pages that the host has mapped
 * @b: what to map, and where the host's PTEs or its huge page are
 *
 * Context: mmap_lock held for read, and within it the lock of the host's page
 * table or huge page; mmu_lock not held, and taken for read. The MMU's caches
 * have been topped up.
 *
 * Return: the number of pages that are mapped, from the first one on; 0 if that
 * one is to be mapped in another way
 */
unsigned long tdp_mmu_pre_fault_install(struct pre_fault_batch *b)
{
	struct kvm *kvm = b->vcpu->kvm;
	unsigned long n = 0;

	mmap_assert_locked(kvm->mm);

	if (!host_pte_usable(host_pte(b->ptep, b->huge, 0)))
		return 0;

	read_lock(&kvm->mmu_lock);
	rcu_read_lock();

	/* Templates are good for as long as mmu_lock is held. */
	b->template = 0;
	memset(b->templates, 0, sizeof(b->templates));

	if (!is_obsolete_sp(kvm, to_shadow_page(b->vcpu->arch.mmu->root.hpa)) &&
	    !batch_is_invalidated(b))
		n = batch_install(b);

	rcu_read_unlock();
	read_unlock(&kvm->mmu_lock);

	return n;
}
