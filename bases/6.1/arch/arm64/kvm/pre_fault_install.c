// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY for arm64: install a table of PTEs from host PTEs.
 * See virt/kvm/pre_fault_host.c for why reading the host PTEs is safe.
 *
 * mmu_lock is held for write, so that only the CPUs walk stage-2 meanwhile.
 */
#include <linux/kvm_host.h>
#include <linux/kvm_pre_fault.h>
#include <linux/mm.h>
#include <linux/page_ref.h>

#include <asm/barrier.h>
#include <asm/kvm_mmu.h>
#include <asm/kvm_pgtable.h>

#include "pre_fault_internal.h"

/* PTEs without an address, read-only and writable; 0 if not made yet */
struct pre_fault_templates {
	kvm_pte_t pte[2];
};

static pte_t host_pte(const struct kvm_pre_fault_span *span, unsigned int i)
{
	return __pte(kvm_host_pte(span->ptep, span->huge, i));
}

/* Mark the page dirty now, as KVM does not report the guest's writes later. */
static void set_dirty(pte_t pte, bool writable)
{
	if (writable && !pte_dirty(pte))
		kvm_set_pfn_dirty(pte_pfn(pte));
}

/* Map a page with kvm_pgtable_stage2_map() and save its attributes as template. */
static int map_first(struct kvm_vcpu *vcpu, gpa_t gpa, pte_t host, bool writable,
		     struct pre_fault_templates *t)
{
	struct kvm_pgtable *pgt = vcpu->kvm->arch.mmu.pgt;
	kvm_pte_t pte;
	int r;

	r = kvm_pgtable_stage2_map(pgt, gpa, PAGE_SIZE, __pte_to_phys(host),
				   pre_fault_prot(writable, false),
				   &vcpu->arch.mmu_page_cache);
	if (r)
		return r;

	set_dirty(host, writable);
	vcpu->stat.pf_prefaulted++;

	r = kvm_pgtable_get_leaf(pgt, gpa, &pte, NULL);
	if (!r)
		t->pte[writable] = pte & ~PTE_ADDR_MASK;

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
	unsigned int i, filled = 0;
	bool writable;
	pte_t pte;

	for (i = 0; i < span->npages; i++) {
		if (kvm_pte_valid(READ_ONCE(ptep[i])))
			continue;

		pte = host_pte(span, i);
		if (!kvm_host_pte_usable(pte_val(pte)))
			break;

		writable = slot_w && pte_write(pte);
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
		/* Set the PTE after the cleaning: the guest must not read stale data. */
		smp_store_release(ptep + i, t->pte[writable] |
				  (pte_val(pte) & PTE_ADDR_MASK));
		set_dirty(pte, writable);
		filled++;
	}

	/* Each PTE in use has a reference to its table. */
	if (filled) {
		page_ref_add(virt_to_page(ptep), filled);
		dsb(ishst);
	}
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
	pte_t pte;
	u64 rest;

	if (pre_fault_find_leaf(pgt, gpa, &leaf))
		return 0;

	if (leaf.level < KVM_PGTABLE_MAX_LEVELS - 1) {
		if (kvm_pte_valid(*leaf.ptep)) {
			rest = pre_fault_rest_of(kvm_granule_size(leaf.level), gpa);
			return min_t(u64, b->npages, rest >> PAGE_SHIFT);
		}

		/* Leave a block to the one-page path. */
		if (!span->ptep && !kvm_memslot_is_logging(b->slot) &&
		    kvm_supports_stage2_huge_mapping(b->slot, b->hva, PMD_SIZE))
			return 0;

		/* Mapping the first page allocates the table. */
		pte = host_pte(span, 0);
		if (map_first(b->vcpu, gpa, pte,
			      pre_fault_slot_writable(b->slot) && pte_write(pte), &t) ||
		    pre_fault_find_leaf(pgt, gpa, &leaf))
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
