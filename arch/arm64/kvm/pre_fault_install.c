// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY for arm64: install a table of PTEs, or blocks, from host PTEs.
 * See virt/kvm/pre_fault_host.c for why reading the host PTEs is safe.
 * See kvm_pre_fault_lock() for what may change stage-2 meanwhile.
 */
#include <linux/kvm_host.h>
#include <linux/kvm_pre_fault.h>
#include <linux/mm.h>
#include <linux/page_ref.h>

#include <asm/barrier.h>
#include <asm/kvm_mmu.h>
#include <asm/kvm_pgtable.h>

#include "pre_fault_base.h"

/* The bits of a host PTE that decide if its page is mapped, and with which template */
#define HOST_PTE_CLASS	(KVM_HOST_PTE_CHECK | PTE_WRITE | PTE_RDONLY | PTE_DIRTY)

/* PTEs without an address; 0 if not made yet */
struct pre_fault_templates {
	/* The size that a PTE maps: PAGE_SIZE or PMD_SIZE */
	u64 size;
	/* Read-only and writable */
	kvm_pte_t pte[2];
	/* The one for all host PTEs of this class, or 0 and 0 */
	kvm_pte_t for_class;
	pteval_t class;
};

static pte_t host_pte(const struct kvm_pre_fault_span *span, unsigned int i)
{
	return __pte(kvm_host_pte(span->ptep, span->huge, i));
}

/*
 * Return true if the guest may write to the page of @host, the span's PTE @i.  Mark the
 * page dirty, as KVM does not report the guest's writes later.
 */
static bool host_writable(const struct kvm_pre_fault_span *span, unsigned int i,
			  pte_t host)
{
	if (!pte_write(host))
		return false;

	if (pte_dirty(host))
		return true;

	/* The Dirty bit of a contiguous block may be in another PTE. */
	if (pte_cont(host) && span->ptep &&
	    pte_dirty(ptep_get_lockless(span->ptep + i)))
		return true;

	return pre_fault_may_write_clean_page(pte_pfn(host));
}

/*
 * Map a page or block with kvm_pgtable_stage2_map() and save its attributes as template.
 * Save none if another vCPU has changed the PTE since, e.g. made it writable.
 */
static int map_first(struct kvm_vcpu *vcpu, gpa_t gpa, pte_t host, bool writable,
		     struct pre_fault_templates *t)
{
	const enum kvm_pgtable_prot prot = pre_fault_prot(writable, 0);
	struct pre_fault_leaf leaf;
	int r;

	r = pre_fault_stage2_map(vcpu, gpa, t->size, __pte_to_phys(host), prot);
	if (r)
		return r;

	vcpu->stat.pf_prefaulted += t->size >> PAGE_SHIFT;

	r = pre_fault_find_leaf(vcpu->kvm->arch.mmu.pgt, gpa, &leaf);
	if (!r && kvm_granule_size(leaf.level) == t->size && kvm_pte_valid(leaf.pte) &&
	    kvm_pgtable_stage2_pte_prot(leaf.pte) == prot)
		t->pte[writable] = pre_fault_pte_attr(leaf.pte);

	return r;
}

/*
 * Return the template for @pte, the span's PTE @i.  Return 0 if the page can't be mapped,
 * or if it was mapped to make the template.  For a block, @pte is the PTE of the first
 * page, and @i is 0.
 */
static kvm_pte_t get_template(const struct kvm_pre_fault_batch *b, gpa_t gpa,
			      const struct kvm_pre_fault_span *span, unsigned int i,
			      pte_t pte, struct pre_fault_templates *t)
{
	const bool slot_w = pre_fault_slot_writable(b->slot);
	bool writable;

	t->class = 0;
	t->for_class = 0;
	if (!kvm_host_pte_usable(pte_val(pte)))
		return 0;

	writable = slot_w && host_writable(span, i, pte);
	if (!t->pte[writable]) {
		map_first(b->vcpu, gpa, pte, writable, t);
		return 0;
	}

	/* Check special pages, and pages that have to be marked dirty, one by one. */
	if (!pte_special(pte) && (!slot_w || !pte_write(pte) || pte_dirty(pte))) {
		t->class = pte_val(pte) & HOST_PTE_CLASS;
		t->for_class = t->pte[writable];
	}

	return t->pte[writable];
}

/*
 * Fill the gaps of a table, from the PTE of the span's first page on.  Return the number
 * of pages that are mapped, from the first one on.
 */
static unsigned int fill_span(const struct kvm_pre_fault_batch *b, gpa_t gpa,
			      const struct kvm_pre_fault_span *span,
			      kvm_pte_t *ptep, struct pre_fault_templates *t)
{
	struct page *table = virt_to_page(ptep);
	unsigned int i, filled = 0;
	kvm_pte_t template;
	pte_t pte;

	/*
	 * Each PTE in use has a reference to its table.  Take it first: another vCPU
	 * may replace a PTE, and drop its reference, as soon as the PTE is set.
	 */
	page_ref_add(table, span->npages);

	for (i = 0; i < span->npages; i++) {
		if (kvm_pte_valid(READ_ONCE(ptep[i])))
			continue;

		pte = host_pte(span, i);
		template = t->for_class;
		if ((pte_val(pte) & HOST_PTE_CLASS) != t->class)
			template = get_template(b, gpa + ((gpa_t)i << PAGE_SHIFT), span,
						i, pte, t);

		/*
		 * Do what kvm_pgtable_stage2_map() does for a PTE that is not
		 * valid.  The page is executable only if the instruction cache
		 * needs no maintenance.
		 */
		if (template) {
			__clean_dcache_guest_page(__va(__pte_to_phys(pte)), PAGE_SIZE);
			if (pre_fault_set_pte(ptep + i, template |
							pre_fault_pte_addr(pte))) {
				filled++;
				continue;
			}
		}

		if (!kvm_pte_valid(READ_ONCE(ptep[i])))
			break;
	}

	/*
	 * The surplus is not visible: references are checked with mmu_lock held for
	 * write, or after the RCU grace period of a table that is replaced.
	 */
	page_ref_sub(table, span->npages - filled);
	if (filled)
		dsb(ishst);
	b->vcpu->stat.pf_prefaulted += filled;

	return i;
}

/*
 * Map huge pages of the host by blocks.  With FWB, no block has to be cleaned from the
 * caches.  All are in the slot, and if gfn and hva of one are congruent, those of all are.
 * Stop at a PTE that is in use, which may be a table with gaps.  Return the number of
 * pages that are mapped.
 */
static unsigned int install_blocks(const struct kvm_pre_fault_batch *b, gpa_t gpa)
{
	const unsigned int nr = min_t(unsigned int, b->nr_huge,
				      PTRS_PER_PMD - pmd_index(gpa));
	const struct kvm_pre_fault_span *span = b->spans;
	struct pre_fault_templates t = { .size = PMD_SIZE };
	unsigned int i, filled = 0;
	struct pre_fault_leaf leaf;
	kvm_pte_t template;
	struct page *table;
	pteval_t huge;

	/* The first template maps a block, which allocates the table. */
	get_template(b, gpa, span, 0, __pte(span->huge), &t);
	if (pre_fault_find_leaf(b->vcpu->kvm->arch.mmu.pgt, gpa, &leaf) ||
	    !kvm_pte_valid(leaf.pte) || kvm_granule_size(leaf.level) != PMD_SIZE)
		return 0;

	/* As in fill_span() */
	table = virt_to_page(leaf.ptep);
	page_ref_add(table, nr);

	for (i = 1; i < nr; i++) {
		huge = kvm_host_huge_pte(span, i);
		if (!huge || READ_ONCE(leaf.ptep[i]))
			break;

		gpa += PMD_SIZE;
		template = get_template(b, gpa, span, 0, __pte(huge), &t);
		if (!template)
			break;

		if (!pre_fault_set_pte(leaf.ptep + i,
				       template | pre_fault_pte_addr(__pte(huge))))
			break;
		filled++;
	}

	page_ref_sub(table, nr - filled);
	if (filled)
		dsb(ishst);
	b->vcpu->stat.pf_prefaulted += filled * PTRS_PER_PTE;

	return i * PTRS_PER_PTE;
}

int kvm_arch_pre_fault_topup(struct kvm_vcpu *vcpu)
{
	return pre_fault_topup(vcpu);
}

unsigned int kvm_arch_pre_fault_install(struct kvm_pre_fault_batch *b)
{
	struct kvm_pgtable *pgt = b->vcpu->kvm->arch.mmu.pgt;
	const gpa_t gpa = gfn_to_gpa(b->gfn);
	const struct kvm_pre_fault_span *span = b->spans;
	struct pre_fault_templates t = { .size = PAGE_SIZE };
	struct pre_fault_leaf leaf;
	unsigned int n = 0, filled;
	u64 rest;

	if (pre_fault_find_leaf(pgt, gpa, &leaf))
		return 0;

	if (leaf.level < PRE_FAULT_LAST_LEVEL) {
		if (kvm_pte_valid(leaf.pte)) {
			rest = pre_fault_rest_of(kvm_granule_size(leaf.level), gpa);
			return min_t(u64, b->npages, rest >> PAGE_SHIFT);
		}

		/*
		 * Leave a block to the one-page path if it begins before the batch, and
		 * without FWB: that path does not hold mmap_lock while it cleans the
		 * block from the caches.
		 */
		if (!span->ptep && !pre_fault_is_logging(b->slot) &&
		    kvm_supports_stage2_huge_mapping(b->slot, b->hva, PMD_SIZE))
			return b->nr_huge && cpus_have_final_cap(ARM64_HAS_STAGE2_FWB) ?
			       install_blocks(b, gpa) : 0;

		/* The first template maps a page, which allocates the table. */
		get_template(b, gpa, span, 0, host_pte(span, 0), &t);
		if (pre_fault_find_leaf(pgt, gpa, &leaf) ||
		    leaf.level < PRE_FAULT_LAST_LEVEL)
			return 0;
	}

	for (; span < b->spans + ARRAY_SIZE(b->spans); span++) {
		filled = fill_span(b, gpa + ((gpa_t)n << PAGE_SHIFT), span,
				   leaf.ptep + n, &t);
		n += filled;
		if (filled < span->npages)
			break;
	}

	return n;
}
