/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __LINUX_KVM_PRE_FAULT_H
#define __LINUX_KVM_PRE_FAULT_H

/*
 * KVM_PRE_FAULT_MEMORY in batches: the interface between virt/kvm/pre_fault_host.c
 * and an architecture's installer.
 *
 * <asm/kvm_pre_fault.h> provides:
 *
 * - kvm_host_read_pte(), kvm_host_pte_usable(), kvm_host_pmd_is_huge(),
 *   kvm_host_pmd_to_pte(): helpers for host PTEs, inlined into the loops that read them
 * - kvm_pre_fault_max_pages(): the most pages to map per hold of mmu_lock
 * - kvm_pre_fault_lock(), kvm_pre_fault_unlock(): mmu_lock, for read or write
 * - KVM_HOST_PTE_PFN_SHIFT: where the pfn begins in a host PTE, if not at PAGE_SHIFT
 */
#include <linux/kvm_host.h>
#include <linux/kvm_pre_fault_base.h>
#include <linux/mm.h>

#include <asm/kvm_pre_fault.h>

#ifndef KVM_HOST_PTE_PFN_SHIFT
#define KVM_HOST_PTE_PFN_SHIFT	PAGE_SHIFT
#endif

/* Pages that one host page table maps, or one huge page of the host */
struct kvm_pre_fault_span {
	/* The host PTEs; NULL for a huge page, whose first PTE would be @huge. */
	pte_t *ptep;
	pteval_t huge;
	/* The PMD entry */
	pmd_t *pmdp;
	unsigned int npages;
};

/*
 * Pages that one stage-2 page table maps, in a single VMA and memslot.  They are in
 * two host page tables if gfn and hva differ modulo the size that a page table maps.
 */
struct kvm_pre_fault_batch {
	struct kvm_vcpu *vcpu;
	const struct kvm_memory_slot *slot;
	gfn_t gfn;
	hva_t hva;
	unsigned int npages;
	/* The huge pages that may be mapped with the first one, from it on */
	unsigned int nr_huge;
	struct kvm_pre_fault_span spans[2];
};

static __always_inline pteval_t kvm_host_pte(pte_t *ptep, pteval_t huge,
					     unsigned long i)
{
	return ptep ? kvm_host_read_pte(ptep + i) : huge + (i << KVM_HOST_PTE_PFN_SHIFT);
}

/*
 * Read the @i-th PMD entry of a span that begins with a huge page.  Return the PTE that
 * the first page would have, or 0 if the entry does not map a huge page.
 */
static __always_inline pteval_t kvm_host_huge_pte(const struct kvm_pre_fault_span *span,
						  unsigned int i)
{
	const pmd_t pmd = kvm_pre_fault_read_pmd(span->pmdp + i);

	return kvm_host_pmd_is_huge(pmd) ? kvm_host_pmd_to_pte(pmd, 0) : 0;
}

long kvm_pre_fault_host(struct kvm_vcpu *vcpu, const struct kvm_memory_slot *slot,
			gfn_t gfn, u64 npages);

/* Allocate page tables before mmu_lock is taken.  Returns 0 or -ENOMEM. */
int kvm_arch_pre_fault_topup(struct kvm_vcpu *vcpu);

/*
 * Install SPTEs for the pages in @b, with mmu_lock held inside an RCU read
 * section.  Returns the number of pages that are mapped, from the first one on;
 * 0 if the first page is left to the one-page path.  More than b->npages are
 * mapped if these are huge pages and b->nr_huge allows it.
 */
unsigned int kvm_arch_pre_fault_install(struct kvm_pre_fault_batch *b);

#endif /* __LINUX_KVM_PRE_FAULT_H */
