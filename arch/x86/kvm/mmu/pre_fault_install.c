// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY for x86: install a page table of SPTEs from host PTEs.
 * See virt/kvm/pre_fault_host.c for why reading the host PTEs is safe.
 *
 * mmu_lock is held for read, and RCU keeps the TDP MMU's page tables from being
 * freed.  Write each SPTE that another task can see by cmpxchg against the
 * non-present value that was read.
 */
#include <linux/kvm_host.h>
#include <linux/kvm_pre_fault.h>

#include "mmu.h"
#include "mmu_internal.h"
#include "mmutrace.h"
#include "pre_fault.h"
#include "pre_fault_base.h"
#include "pre_fault_tdp.h"
#include "spte.h"
#include "tdp_iter.h"
#include "tdp_mmu.h"

/*
 * Host PTEs that have these bits in common get SPTEs that differ in the pfn only.
 * PRE_FAULT_PTE_DIRTY is the D bit if KVM marks pages dirty when mapping them.
 */
#define PTE_CLASS	(KVM_HOST_PTE_CHECK | _PAGE_RW | PRE_FAULT_PTE_DIRTY)

struct spte_batch {
	const struct kvm_pre_fault_batch *b;
	/* The page table to fill */
	struct kvm_mmu_page *sp;
	/* SPTEs without a pfn, read-only and writable; 0 if not made yet */
	u64 templates[2];
	/* The template for host PTEs of this class, 0 if there is none yet */
	u64 template;
	pteval_t class;
};

int kvm_arch_pre_fault_topup(struct kvm_vcpu *vcpu)
{
	return mmu_topup_memory_caches(vcpu, false);
}

/*
 * Return true if make_spte() makes SPTEs that differ in the pfn only: no gfn is
 * write-tracked or has a memory type of its own.  No gfn can become write-protected
 * for shadow paging while mmu_lock is held.
 */
static bool gfns_are_alike(struct kvm *kvm)
{
	return !kvm->arch.indirect_shadow_pages &&
	       !kvm_page_track_has_external_user(kvm) &&
	       !pre_fault_has_memtypes(kvm);
}

/* Make the SPTE of a read fault, not Accessed. */
static u64 make_read_spte(const struct kvm_pre_fault_batch *b, struct kvm_mmu_page *sp,
			  unsigned int access, gfn_t gfn, kvm_pfn_t pfn, bool writable)
{
	u64 spte;

	make_spte(b->vcpu, sp, b->slot, access, gfn, pfn, 0, true,
		  PRE_FAULT_SYNC_ARG, writable, &spte);

	return pre_fault_clean_spte(spte);
}

/* Make the SPTE for the @i-th page, but without the pfn. */
static u64 make_template(struct spte_batch *sb, unsigned int i, kvm_pfn_t pfn,
			 bool writable, bool reusable)
{
	const struct kvm_pre_fault_batch *b = sb->b;
	unsigned int access = sb->sp->role.access;
	u64 spte, mmu_writable = 0;

	if (b->slot->flags & KVM_MEM_READONLY)
		writable = false;

	/*
	 * With dirty logging, the guest's first write has to fault.  Make the SPTE
	 * MMU-writable if no gfn is write-tracked, so that the lockless fast path
	 * can resolve that fault.
	 */
	if (writable && kvm_slot_dirty_track_enabled(b->slot)) {
		access &= ~ACC_WRITE_MASK;
		writable = reusable;
		mmu_writable = reusable ? shadow_mmu_writable_mask : 0;
	}

	spte = make_read_spte(b, sb->sp, access, b->gfn + i, pfn, writable);

	return (spte & ~((u64)pfn << PAGE_SHIFT)) | mmu_writable;
}

/*
 * Get the template for the @i-th page, 0 if its host PTE is unusable.  Remember
 * the template if it is good for more pages than this one.
 */
static noinline u64 get_template(struct spte_batch *sb, unsigned int i,
				 pteval_t pte)
{
	const kvm_pfn_t pfn = pte_pfn(__pte(pte));
	bool writable = pte & _PAGE_RW;
	bool clean = writable && PRE_FAULT_PTE_DIRTY && !(pte & PRE_FAULT_PTE_DIRTY);
	u64 *cached, t;

	if (!kvm_host_pte_usable(pte))
		return 0;

	/* A page in a read-only slot can't be written to. */
	if (clean && !(sb->b->slot->flags & KVM_MEM_READONLY))
		writable = pre_fault_may_write_clean_page(pfn);

	cached = &sb->templates[writable];
	t = *cached;
	if (!t) {
		bool reusable = gfns_are_alike(sb->b->vcpu->kvm);

		t = make_template(sb, i, pfn, writable, reusable);
		if (!reusable)
			return t;
		*cached = t;
	}

	/* Save no template for clean pages and zero pages: each one needs a check. */
	if (!clean && !(pte & _PAGE_SPECIAL)) {
		sb->class = pte & PTE_CLASS;
		sb->template = t;
	}

	return t;
}

static u64 *first_sptep(struct spte_batch *sb)
{
	return sb->sp->spt + SPTE_INDEX(sb->b->gfn << PAGE_SHIFT, PG_LEVEL_4K);
}

/*
 * Fill a page table that is not linked yet.  Keep the loop's state in local
 * variables, as the compiler has to assume that writing an SPTE modifies @sb.
 */
static __always_inline unsigned int
__fill_new(struct spte_batch *sb, u64 *sptep, unsigned int first, pte_t *ptep,
	   const pteval_t huge, const unsigned int npages)
{
	const u64 pfn_mask = PTE_PFN_MASK;
	pteval_t class = sb->class, pte, diff;
	u64 template = sb->template, t;
	unsigned long i;

	for (i = 0; i < npages; i++) {
		for (; template && i < npages; i++) {
			diff = kvm_host_pte(ptep, huge, i) ^ class;
			if (diff & PTE_CLASS)
				break;
			sptep[i] = template | (diff & pfn_mask);
		}
		if (i == npages)
			break;

		/* Keep the class at zero pages, as they often lie between other pages. */
		pte = kvm_host_pte(ptep, huge, i);
		t = sb->templates[0];
		if (!t || !kvm_host_pte_is_zero(pte)) {
			t = get_template(sb, first + i, pte);
			if (!t)
				break;
			class = sb->class;
			template = sb->template;
		}
		sptep[i] = t | (pte & pfn_mask);
	}

	return i;
}

static unsigned int fill_new(struct spte_batch *sb, unsigned int first,
			     const struct kvm_pre_fault_span *span)
{
	u64 *sptep = first_sptep(sb) + first;

	return span->ptep ?
	       __fill_new(sb, sptep, first, span->ptep, 0, span->npages) :
	       __fill_new(sb, sptep, first, NULL, span->huge, span->npages);
}

/* Fill the gaps of a page table in use.  Don't modify present or frozen SPTEs. */
static unsigned int fill_gaps(struct spte_batch *sb, unsigned int first,
			      const struct kvm_pre_fault_span *span,
			      unsigned int *installed)
{
	u64 *sptep = first_sptep(sb) + first;
	unsigned int i;
	pteval_t pte;
	u64 old, t;

	for (i = 0; i < span->npages; i++) {
		old = READ_ONCE(sptep[i]);
		if (is_shadow_present_pte(old))
			continue;
		if (is_frozen_spte(old))
			break;

		pte = kvm_host_pte(span->ptep, span->huge, i);
		t = sb->template;
		if (!t || (pte & PTE_CLASS) != sb->class)
			t = get_template(sb, first + i, pte);
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
 * Walk to the SPTE for the last-level page table or for a huge page in its place.
 * Link page tables above it where they are missing.
 */
static bool walk_to_pt(struct kvm_vcpu *vcpu, struct kvm_mmu_page *root,
		       struct tdp_iter *iter, gfn_t gfn)
{
	pre_fault_for_each_spte((*iter), vcpu->kvm, root, PG_LEVEL_2M, gfn, gfn + 1) {
		if (iter->level == PG_LEVEL_2M)
			return true;

		if (is_shadow_present_pte(iter->old_spte)) {
			if (is_last_spte(iter->old_spte, iter->level))
				return true;
		} else if (!pre_fault_link_pt(vcpu, iter)) {
			return false;
		}
	}

	return false;
}

/*
 * Return true if one SPTE is to map the host's huge page.  Call with mmu_lock held,
 * as the result changes if a gfn of the huge page gets write-protected.
 */
static bool want_huge(const struct kvm_pre_fault_batch *b)
{
	return !b->spans[0].ptep && !kvm_slot_dirty_track_enabled(b->slot) &&
	       pre_fault_max_level(b->vcpu, b->slot, b->gfn) != PG_LEVEL_4K;
}

/* Make the SPTE for a huge page of the host.  Reuse a template if there is one. */
static u64 make_huge(const struct kvm_pre_fault_batch *b, struct kvm_mmu_page *sp,
		     gfn_t gfn, pteval_t pte, u64 templates[2])
{
	const kvm_pfn_t pfn = pte_pfn(__pte(pte)) &
			      ~(KVM_PAGES_PER_HPAGE(PG_LEVEL_2M) - 1);
	const u64 addr = (u64)pfn << PAGE_SHIFT;
	bool writable = (pte & _PAGE_RW) && !(b->slot->flags & KVM_MEM_READONLY);

	if (writable && !(pte & _PAGE_DIRTY))
		writable = pre_fault_may_write_clean_page(pfn);

	if (!templates[writable])
		templates[writable] = ~addr &
			make_read_spte(b, sp, sp->role.access, gfn, pfn, writable);

	return templates[writable] | addr;
}

/*
 * Map all of the host's huge page by the SPTE at @iter, which is not present, and the
 * huge pages after it.  If KVM may map one gfn of a slot by a huge page, it may map all,
 * as long as they are alike.  Stop at a page table: only the one-page path replaces it
 * by a huge page.
 */
static unsigned int install_huge(const struct kvm_pre_fault_batch *b,
				 struct tdp_iter *iter)
{
	const unsigned int room = SPTE_ENT_PER_PAGE -
				  SPTE_INDEX(iter->gfn << PAGE_SHIFT, PG_LEVEL_2M);
	const unsigned int nr = gfns_are_alike(b->vcpu->kvm) ? min(b->nr_huge, room) : 1;
	u64 *sptep = rcu_dereference(iter->sptep), templates[2] = {}, old;
	struct kvm_mmu_page *sp = sptep_to_sp(sptep);
	unsigned int i = 0, installed = 0;
	pteval_t pte = b->spans[0].huge;
	gfn_t gfn = iter->gfn;

	do {
		old = READ_ONCE(sptep[i]);
		if (!is_shadow_present_pte(old)) {
			if (is_frozen_spte(old) ||
			    !try_cmpxchg64(sptep + i, &old,
					   make_huge(b, sp, gfn, pte, templates)))
				break;
			trace_kvm_mmu_set_spte(PG_LEVEL_2M, gfn, sptep + i);
			installed++;
		} else if (!is_last_spte(old, PG_LEVEL_2M)) {
			break;
		}

		i++;
		gfn += KVM_PAGES_PER_HPAGE(PG_LEVEL_2M);
		pte = i < nr ? kvm_host_huge_pte(&b->spans[0], i) : 0;
	} while (pte);

	if (installed)
		kvm_update_page_stats(b->vcpu->kvm, PG_LEVEL_2M, installed);
	kvm_mmu_pre_fault_count(b->vcpu, PG_LEVEL_2M, installed);

	return i > 1 ? i * PTRS_PER_PTE : i * b->npages;
}

/* Install SPTEs of 4K in the page table at @iter, or in a new one. */
static unsigned int install_4k(struct spte_batch *sb, struct tdp_iter *iter)
{
	const struct kvm_pre_fault_batch *b = sb->b;
	const bool new = !is_shadow_present_pte(iter->old_spte);
	const struct kvm_pre_fault_span *span;
	struct kvm_vcpu *vcpu = b->vcpu;
	unsigned int n = 0, filled, installed = 0;

	if (new) {
		sb->sp = tdp_mmu_alloc_sp(vcpu);
		tdp_mmu_init_child_sp(sb->sp, iter);
	} else {
		sb->sp = spte_to_child_sp(iter->old_spte);
	}

	for (span = b->spans; span < b->spans + ARRAY_SIZE(b->spans); span++) {
		filled = new ? fill_new(sb, n, span) :
			       fill_gaps(sb, n, span, &installed);
		n += filled;
		if (filled < span->npages)
			break;
	}

	if (new) {
		/* Link the page table last, so that no walker sees it empty. */
		if (pre_fault_link_sp(vcpu->kvm, iter, sb->sp)) {
			pre_fault_free_pt(sb->sp);
			return 0;
		}
		installed = n;
	}

	if (installed)
		kvm_update_page_stats(vcpu->kvm, PG_LEVEL_4K, installed);
	kvm_mmu_pre_fault_count(vcpu, PG_LEVEL_4K, installed);
	trace_kvm_mmu_pre_fault_batch(b->gfn, n, installed,
				      READ_ONCE(*first_sptep(sb)));

	return n;
}

unsigned int kvm_arch_pre_fault_install(struct kvm_pre_fault_batch *b)
{
	struct kvm_mmu_page *root = root_to_sp(b->vcpu->arch.mmu->root.hpa);
	struct spte_batch sb = { .b = b };
	struct tdp_iter iter;

	/* The root is obsolete, and the one-page path gets a new one. */
	if (root->role.invalid)
		return 0;

	if (!walk_to_pt(b->vcpu, root, &iter, b->gfn) ||
	    is_frozen_spte(iter.old_spte))
		return 0;

	if (is_shadow_present_pte(iter.old_spte) &&
	    is_last_spte(iter.old_spte, iter.level))
		return min_t(u64, b->npages, KVM_PAGES_PER_HPAGE(iter.level) -
					     (b->gfn - iter.gfn));

	if (!want_huge(b))
		return install_4k(&sb, &iter);

	if (!is_shadow_present_pte(iter.old_spte))
		return install_huge(b, &iter);

	/*
	 * Keep a page table that is in use, or that may map executable 4K pages
	 * for the NX huge page workaround.
	 */
	if (is_nx_huge_page_enabled(b->vcpu->kvm) ||
	    pre_fault_pt_in_use(iter.old_spte))
		return install_4k(&sb, &iter);

	return 0;
}
