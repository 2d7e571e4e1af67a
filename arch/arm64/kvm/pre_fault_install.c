// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY for arm64: install a table of PTEs from host PTEs.
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

/* PTEs without an address, read-only and writable; 0 if not made yet */
struct pre_fault_templates {
	kvm_pte_t pte[2];
};

static pte_t host_pte(const struct kvm_pre_fault_span *span, unsigned int i)
{
	return __pte(kvm_host_pte(span->ptep, span->huge, i));
}

/* Mark the page dirty now, as KVM does not report the guest's writes later. */
static bool host_writable(pte_t host)
{
	return pte_write(host) &&
	       (pte_dirty(host) || pre_fault_may_write_clean_page(pte_pfn(host)));
}

/*
 * Map a page with kvm_pgtable_stage2_map() and save its attributes as template.  If
 * another vCPU has changed the PTE since, e.g. made it writable, do without.
 */
static int map_first(struct kvm_vcpu *vcpu, gpa_t gpa, pte_t host, bool writable,
		     struct pre_fault_templates *t)
{
	const enum kvm_pgtable_prot prot = pre_fault_prot(writable, 0);
	struct pre_fault_leaf leaf;
	int r;

	r = pre_fault_stage2_map(vcpu, gpa, PAGE_SIZE, __pte_to_phys(host), prot);
	if (r)
		return r;

	vcpu->stat.pf_prefaulted++;

	r = pre_fault_find_leaf(vcpu->kvm->arch.mmu.pgt, gpa, &leaf);
	if (!r && leaf.level == PRE_FAULT_LAST_LEVEL && kvm_pte_valid(leaf.pte) &&
	    kvm_pgtable_stage2_pte_prot(leaf.pte) == prot)
		t->pte[writable] = pre_fault_pte_attr(leaf.pte);

	return r;
}

/*
 * Fill the gaps of a table, from the PTE of the span's first page on.  Returns the
 * number of pages that are mapped, from the first one on.
 */
static unsigned int fill_span(const struct kvm_pre_fault_batch *b, gpa_t gpa,
			      const struct kvm_pre_fault_span *span,
			      kvm_pte_t *ptep, struct pre_fault_templates *t)
{
	const bool slot_w = pre_fault_slot_writable(b->slot);
	struct page *table = virt_to_page(ptep);
	unsigned int i, filled = 0;
	bool writable;
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
		if (!kvm_host_pte_usable(pte_val(pte)))
			break;

		writable = slot_w && host_writable(pte);
		if (!t->pte[writable]) {
			if (map_first(b->vcpu, gpa + ((gpa_t)i << PAGE_SHIFT), pte,
				      writable, t))
				break;
			continue;
		}

		/*
		 * Do what kvm_pgtable_stage2_map() does for a PTE that is not
		 * valid.  The page is executable only if the instruction cache
		 * needs no maintenance.
		 */
		__clean_dcache_guest_page(__va(__pte_to_phys(pte)), PAGE_SIZE);
		if (pre_fault_set_pte(ptep + i,
				      t->pte[writable] | pre_fault_pte_addr(pte)))
			filled++;
		else if (!kvm_pte_valid(READ_ONCE(ptep[i])))
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

int kvm_arch_pre_fault_topup(struct kvm_vcpu *vcpu)
{
	return pre_fault_topup(vcpu);
}

unsigned int kvm_arch_pre_fault_install(struct kvm_pre_fault_batch *b)
{
	struct kvm_pgtable *pgt = b->vcpu->kvm->arch.mmu.pgt;
	const gpa_t gpa = gfn_to_gpa(b->gfn);
	const struct kvm_pre_fault_span *span = b->spans;
	struct pre_fault_templates t = {};
	struct pre_fault_leaf leaf;
	unsigned int n = 0, filled;
	bool slot_w;
	pte_t pte;
	u64 rest;

	if (pre_fault_find_leaf(pgt, gpa, &leaf))
		return 0;

	if (leaf.level < PRE_FAULT_LAST_LEVEL) {
		if (kvm_pte_valid(leaf.pte)) {
			rest = pre_fault_rest_of(kvm_granule_size(leaf.level), gpa);
			return min_t(u64, b->npages, rest >> PAGE_SHIFT);
		}

		/* Leave a block to the one-page path. */
		if (!span->ptep && !pre_fault_is_logging(b->slot) &&
		    kvm_supports_stage2_huge_mapping(b->slot, b->hva, PMD_SIZE))
			return 0;

		/* Mapping the first page allocates the table. */
		pte = host_pte(span, 0);
		slot_w = pre_fault_slot_writable(b->slot);
		if (map_first(b->vcpu, gpa, pte, slot_w && host_writable(pte), &t) ||
		    pre_fault_find_leaf(pgt, gpa, &leaf) ||
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
