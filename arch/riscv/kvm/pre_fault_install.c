// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY for RISC-V: install a table of leaves from host PTEs.
 * See virt/kvm/pre_fault_host.c for why reading the host PTEs is safe.
 *
 * mmu_lock is held for write: nothing else reads or changes the G-stage, except the
 * page table walkers of the harts.
 */
#include <linux/cpufeature.h>
#include <linux/kvm_host.h>
#include <linux/kvm_pre_fault.h>
#include <linux/mm.h>

#include <asm/hwcap.h>
#include <asm/kvm_gstage.h>
#include <asm/kvm_mmu.h>
#include <asm/kvm_tlb.h>

#include "pre_fault_internal.h"

/* The bits of a host PTE that decide if and how its page is mapped */
#define HOST_PTE_CLASS	(KVM_HOST_PTE_CHECK | _PAGE_WRITE | _PAGE_DIRTY)

/* The leaf without a pfn for all host PTEs of a class; 0 if there is none yet */
struct pre_fault_template {
	unsigned long leaf;
	pteval_t class;
};

/*
 * Return true if the guest may write to the page of @host.  Mark the page dirty, as KVM
 * does not report the guest's writes later.
 */
static bool host_writable(const struct kvm_pre_fault_batch *b, pte_t host)
{
	if (!pre_fault_slot_writable(b->slot) || !pte_write(host))
		return false;

	return pte_dirty(host) || kvm_pre_fault_may_dirty(pte_pfn(host));
}

/* Return the leaf for @host without the pfn, or 0 if the page can't be mapped. */
static noinline unsigned long get_template(const struct kvm_pre_fault_batch *b,
					   pte_t host, struct pre_fault_template *t)
{
	unsigned long leaf;

	if (!kvm_host_pte_usable(pte_val(host)))
		return 0;

	leaf = pte_val(pre_fault_leaf(0, host_writable(b, host)));

	/* Look at each special page, and at each page that is to be marked dirty. */
	if (!pte_special(host) && (!pre_fault_slot_writable(b->slot) ||
				   !pte_write(host) || pte_dirty(host))) {
		t->class = pte_val(host) & HOST_PTE_CLASS;
		t->leaf = leaf;
	}

	return leaf;
}

/*
 * Fill the gaps of a table, from the PTE of the span's first page on.  Returns the
 * number of pages that are mapped, from the first one on.
 */
static unsigned int fill_span(const struct kvm_pre_fault_batch *b,
			      const struct kvm_pre_fault_span *span, pte_t *ptep,
			      struct pre_fault_template *t, unsigned int *filled)
{
	/* Keep these in registers. */
	const unsigned int npages = span->npages;
	const pteval_t huge = span->huge;
	pte_t *const host_ptep = span->ptep;
	unsigned long leaf, template = t->leaf;
	pteval_t host, class = t->class;
	unsigned int i, n = 0;

	for (i = 0; i < npages; i++) {
		if (pte_val(ptep[i]))
			continue;

		host = kvm_host_pte(host_ptep, huge, i);
		leaf = template;
		if (!template || (host & HOST_PTE_CLASS) != class) {
			leaf = get_template(b, __pte(host), t);
			if (!leaf)
				break;
			class = t->class;
			template = t->leaf;
		}

		set_pte(ptep + i, __pte(leaf | (host & _PAGE_PFN_MASK)));
		n++;
	}

	*filled += n;
	return i;
}

/* Fill the gaps of a table, from the PTE of the batch's first page on. */
static unsigned int fill_table(const struct kvm_pre_fault_batch *b, pte_t *ptep,
			       unsigned int *filled)
{
	const struct kvm_pre_fault_span *span;
	struct pre_fault_template t = {};
	unsigned int n = 0, i;

	for (span = b->spans; span < b->spans + ARRAY_SIZE(b->spans); span++) {
		i = fill_span(b, span, ptep + n, &t, filled);
		n += i;
		if (i < span->npages)
			break;
	}

	return n;
}

/* Fill a new table, and link it. */
static unsigned int install_table(const struct kvm_pre_fault_batch *b,
				  struct kvm_gstage *gstage, unsigned int *filled)
{
	struct kvm_mmu_memory_cache *pcache = &b->vcpu->arch.mmu_page_cache;
	struct kvm_gstage_mapping map = {
		.addr	= gfn_to_gpa(b->gfn),
		.level	= 1,
	};
	unsigned int n;
	pte_t *table;

	table = kvm_mmu_memory_cache_alloc(pcache);
	if (!table)
		return 0;

	n = fill_table(b, table + (b->gfn & (PTRS_PER_PTE - 1)), filled);

	/* Let no walker see the table before its leaves. */
	smp_wmb();
	map.pte = pfn_pte(PFN_DOWN(__pa(table)), __pgprot(_PAGE_TABLE));
	if (kvm_riscv_gstage_set_pte(gstage, pcache, &map)) {
		free_page((unsigned long)table);
		*filled = 0;
		return 0;
	}

	return n;
}

/*
 * Request a fence for leaves that have replaced invalid entries.  Without Svvptc, a hart
 * may keep invalid entries in its TLB, and a guest page fault that finds a valid leaf
 * does not fence.
 */
static void fence(struct kvm_gstage *gstage, gpa_t gpa, u64 size, unsigned long order)
{
	if (size && !riscv_has_extension_unlikely(RISCV_ISA_EXT_SVVPTC))
		kvm_riscv_hfence_gvma_vmid_gpa(gstage->kvm, -1UL, 0, gpa, size, order,
					       kvm_riscv_vmid_to_fence(&gstage->kvm->arch.vmid));
}

/*
 * Map the host's huge page, and those after it, by one leaf each, all in one table.  All
 * are in the slot, and if gfn and hva of one are congruent, those of all are.  Stop at an
 * entry that is in use: it may be a table with gaps.
 */
static unsigned int install_huge(const struct kvm_pre_fault_batch *b,
				 struct kvm_gstage *gstage)
{
	struct kvm_gstage_mapping map = {
		.addr	= ALIGN_DOWN(gfn_to_gpa(b->gfn), PMD_SIZE),
		.level	= 1,
	};
	const unsigned int nr = min_t(unsigned int, b->nr_huge,
				      PTRS_PER_PTE - pmd_index(map.addr));
	pteval_t host = b->spans[0].huge;
	unsigned int i = 1;
	kvm_pfn_t pfn;
	pte_t *ptep;
	u32 level;

	/* Allocate the table, and fence, for the first leaf only. */
	pfn = ALIGN_DOWN(pte_pfn(__pte(host)), PTRS_PER_PTE);
	map.pte = pre_fault_leaf(pfn, host_writable(b, __pte(host)));
	if (kvm_riscv_gstage_set_pte(gstage, &b->vcpu->arch.mmu_page_cache, &map) ||
	    !kvm_riscv_gstage_get_leaf(gstage, map.addr, &ptep, &level))
		return 0;

	for (; i < nr && !pte_val(ptep[i]); i++) {
		host = kvm_host_huge_pte(&b->spans[0], i);
		if (!kvm_host_pte_usable(host))
			break;
		set_pte(ptep + i, pre_fault_leaf(pte_pfn(__pte(host)),
						 host_writable(b, __pte(host))));
	}

	fence(gstage, map.addr + PMD_SIZE, (i - 1) * PMD_SIZE, PMD_SHIFT);
	b->vcpu->stat.pf_prefaulted += i * PTRS_PER_PTE;

	return i > 1 ? i * PTRS_PER_PTE : b->npages;
}

/* Return true if one leaf is to map the host's huge page. */
static bool want_huge(const struct kvm_pre_fault_batch *b)
{
	return !b->spans[0].ptep && !pre_fault_is_logging(b->slot) &&
	       kvm_riscv_supports_huge_mapping(b->slot, b->hva, PMD_SIZE);
}

int kvm_arch_pre_fault_topup(struct kvm_vcpu *vcpu)
{
	return pre_fault_topup(vcpu);
}

unsigned int kvm_arch_pre_fault_install(struct kvm_pre_fault_batch *b)
{
	const gpa_t gpa = gfn_to_gpa(b->gfn);
	unsigned int n, filled = 0;
	struct kvm_gstage gstage;
	pte_t *ptep;
	u32 level;

	kvm_riscv_gstage_init(&gstage, b->vcpu->kvm);
	if (kvm_riscv_gstage_get_leaf(&gstage, gpa, &ptep, &level) && level)
		return min_t(u64, b->npages, pre_fault_rest_of(pre_fault_level_size(level),
							       gpa) >> PAGE_SHIFT);

	if (want_huge(b)) {
		if (level)
			return install_huge(b, &gstage);
		/* The one-page path replaces the table. */
		if (pre_fault_table_is_empty(ptep))
			return 0;
	}

	n = level ? install_table(b, &gstage, &filled) : fill_table(b, ptep, &filled);

	if (filled)
		fence(&gstage, gpa, (u64)n << PAGE_SHIFT, PAGE_SHIFT);
	b->vcpu->stat.pf_prefaulted += filled;

	return n;
}
