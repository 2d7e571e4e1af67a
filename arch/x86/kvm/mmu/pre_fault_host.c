// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY for x86: map what the host has mapped, a page table (512
 * pages) at a time.
 *
 * The host's page table is read as it stands, without a reference to any page.
 * What is not recognised with certainty is left to the one-page path.
 *
 * Lock order: mmap_lock (read), the host's page table lock, mmu_lock (read), as
 * in the MMU notifiers that are called under the page table lock.
 *
 *  - mmap_lock keeps the VMA, and keeps the host's page table from being freed
 *    or replaced by a huge page.
 *  - Who makes an entry non-present or less permissive either holds mmap_lock
 *    for write, or takes the page table lock between the MMU notifier's start
 *    and end.
 *  - An invalidation of what is read here is therefore over, so that its outcome
 *    is read; or in progress, for all to see under mmu_lock; or yet to start,
 *    and then zaps what is installed here. No sequence count is needed.
 */
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/userfaultfd_k.h>

#include "mmu.h"
#include "mmu_internal.h"
#include "pre_fault.h"
#include "spte.h"

#define HOST_PMD_CHECK	(_PAGE_PRESENT | _PAGE_USER | _PAGE_PSE | _PAGE_DEVMAP | \
			 _PAGE_PWT | _PAGE_PCD | _PAGE_PAT_LARGE)
#define HOST_PMD_HUGE	(_PAGE_PRESENT | _PAGE_USER | _PAGE_PSE)

/*
 * How many page tables are filled before mmap_lock and SRCU are let go of.  It
 * is the locks that many vCPUs would otherwise spend their time on.
 */
#define MAX_BATCHES	16

/* How many pages are faulted in without a look at who is waiting. */
#define FAULTS_IN_ONE_GO	16

/* Once there is a page table, mmap_lock keeps it; a huge page may come and go. */
static bool host_pmd_is_table(pmd_t pmd)
{
	return pmd_present(pmd) && !pmd_bad(pmd);
}

static bool host_pmd_is_huge(pmd_t pmd)
{
	return (pmd_val(pmd) & HOST_PMD_CHECK) == HOST_PMD_HUGE;
}

/* The host's page table keeps its place as long as mmap_lock is held. */
static pte_t *host_ptep(pmd_t *pmdp, hva_t hva)
{
	if (!pmdp || !host_pmd_is_table(READ_ONCE(*pmdp)))
		return NULL;

	return pte_offset_kernel(pmdp, hva);
}

/* Map what the host has mapped.  mmap_lock is held. */
static unsigned long batch_map(struct pre_fault_batch *b)
{
	struct mm_struct *mm = b->vcpu->kvm->mm;
	unsigned long n = 0;
	pmd_t *pmdp, pmd;
	/* Of the page table, or of the huge page */
	spinlock_t *ptl;

	pmdp = kvm_pre_fault_host_pmd(mm, b->hva);
	if (!pmdp)
		return 0;

	pmd = READ_ONCE(*pmdp);
	if (host_pmd_is_table(pmd)) {
		b->ptep = pte_offset_map_lock(mm, pmdp, b->hva, &ptl);
		n = tdp_mmu_pre_fault_install(b);
		pte_unmap_unlock(b->ptep, ptl);
	} else if (host_pmd_is_huge(pmd)) {
		ptl = pmd_lock(mm, pmdp);
		pmd = READ_ONCE(*pmdp);
		if (host_pmd_is_huge(pmd)) {
			b->ptep = NULL;
			b->huge = HOST_PTE_NORMAL | (pmd_val(pmd) & _PAGE_RW) |
				  (pmd_pfn(pmd) << PAGE_SHIFT);
			b->huge += b->hva & ~PMD_MASK;
			n = tdp_mmu_pre_fault_install(b);
		}
		spin_unlock(ptl);
	}

	return n;
}

static bool batch_should_stop(struct mm_struct *mm)
{
	return need_resched() || signal_pending(current) ||
	       mmap_lock_is_contended(mm);
}

/*
 * Have the host fault in what is not there, as a read.  With RETRY_NOWAIT, who
 * handles the fault never drops mmap_lock. It may sleep, though: stop after the
 * first page that had to be read. Returns true if the first page was missing,
 * and was not refused.
 */
static bool batch_fault_in(struct pre_fault_batch *b, struct vm_area_struct *vma)
{
	const unsigned int flags = FAULT_FLAG_ALLOW_RETRY |
				   FAULT_FLAG_RETRY_NOWAIT;
	pmd_t *pmdp = kvm_pre_fault_host_pmd(vma->vm_mm, b->hva);
	pte_t *ptep = host_ptep(pmdp, b->hva);
	unsigned int nr_faults = 0;
	hva_t hva = b->hva;
	vm_fault_t fault;
	unsigned long i;

	if (pmdp && host_pmd_is_huge(READ_ONCE(*pmdp)))
		return false;

	/* A handler in user space is for the one-page path to wait for. */
	if (userfaultfd_armed(vma))
		return false;

	for (i = 0; i < b->npages; i++, hva += PAGE_SIZE) {
		if (ptep && host_pte_usable(pte_val(ptep_get(ptep + i)))) {
			if (!i)
				return false;
			continue;
		}

		if (nr_faults && !(nr_faults % FAULTS_IN_ONE_GO) &&
		    batch_should_stop(vma->vm_mm))
			break;
		nr_faults++;

		fault = handle_mm_fault(vma, hva, flags, NULL);
		if (fault & (VM_FAULT_ERROR | VM_FAULT_RETRY))
			break;

		if (!ptep) {
			pmdp = kvm_pre_fault_host_pmd(vma->vm_mm, b->hva);
			ptep = host_ptep(pmdp, b->hva);
			/* It may be a huge page. */
			if (!ptep)
				return true;
		}

		if (!host_pte_usable(pte_val(ptep_get(ptep + i))))
			break;

		if (fault & VM_FAULT_MAJOR)
			return true;
	}

	return i;
}

/* How many pages are the next batch, of @npages that the VMA and slot have? */
static unsigned int batch_size(struct pre_fault_batch *b, u64 npages)
{
	const u64 gpa = b->gfn << PAGE_SHIFT;

	npages = min_t(u64, npages, PTRS_PER_PTE - pte_index(b->hva));
	return min_t(u64, npages,
		     SPTE_ENT_PER_PAGE - SPTE_INDEX(gpa, PG_LEVEL_4K));
}

/* Returns how many of @npages are mapped.  mmap_lock is held. */
static u64 batch_map_vma(struct pre_fault_batch *b, struct vm_area_struct *vma,
			 u64 npages)
{
	unsigned long n;
	u64 done = 0;
	int i;

	for (i = 0; i < MAX_BATCHES && done < npages; i++) {
		if (i && (batch_should_stop(vma->vm_mm) ||
			  mmu_topup_memory_caches(b->vcpu, false)))
			break;

		b->npages = batch_size(b, npages - done);
		n = batch_map(b);
		if (!n && batch_fault_in(b, vma) &&
		    !mmu_topup_memory_caches(b->vcpu, false))
			n = batch_map(b);

		done += n;
		b->gfn += n;
		b->hva += n << PAGE_SHIFT;

		/* The limit by the MTRRs is of the first page table only. */
		if (n < b->npages || pre_fault_has_memtypes(b->vcpu->kvm))
			break;
	}

	return done;
}

/**
 * tdp_mmu_pre_fault_batch - map what the host has mapped
 * @vcpu: the vCPU whose current root, a TDP MMU one, is filled
 * @fault: gfn, slot and max_level of the first page
 * @npages: how many pages to map at most
 *
 * Context: as for kvm_arch_vcpu_pre_fault_memory(). Takes mmap_lock for read,
 * and within it the page table lock and mmu_lock for read.
 *
 * Return:
 * * > 0	- the number of pages that are mapped, from the first one on
 * * 0		- the first page is to be mapped in another way
 * * -EINTR	- a fatal signal came while waiting for mmap_lock
 * * -ENOMEM	- no memory for page tables
 */
long tdp_mmu_pre_fault_batch(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault,
			     u64 npages)
{
	const struct kvm_memory_slot *slot = fault->slot;
	struct mm_struct *mm = vcpu->kvm->mm;
	struct pre_fault_batch b = {
		.vcpu = vcpu,
		.slot = slot,
		.fault = fault,
		.gfn = fault->gfn,
		.hva = __gfn_to_hva_memslot(slot, fault->gfn),
	};
	struct vm_area_struct *vma;
	u64 done = 0;
	int r;

	/* KVM's own, e.g. the APIC access page, have rules of their own. */
	if (slot->id >= KVM_USER_MEM_SLOTS)
		return 0;

	/* Nothing can be allocated under the page table lock. */
	r = mmu_topup_memory_caches(vcpu, false);
	if (r)
		return r;

	if (mmap_read_lock_killable(mm))
		return -EINTR;

	vma = vma_lookup(mm, b.hva);
	if (vma && kvm_pre_fault_vma_usable(vma)) {
		npages = min(npages, slot->base_gfn + slot->npages - b.gfn);
		npages = min_t(u64, npages, (vma->vm_end - b.hva) >> PAGE_SHIFT);
		done = batch_map_vma(&b, vma, npages);
	}

	mmap_read_unlock(mm);

	vcpu->stat.pf_fixed += b.fixed;
	vcpu->stat.pf_prefaulted += b.prefaulted;

	return done;
}
