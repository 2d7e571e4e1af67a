// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY: map pages that the host has mapped, a page table at a time.
 *
 * Walk the host page table beside the stage-2 page table, and have the
 * architecture copy entries, without a reference to any page.  Leave memory that
 * may not be normal memory to the architecture's one-page path.
 *
 * Lock order: mmap_lock (read), mmu_lock, RCU.  The locks of host page tables
 * are not taken:
 *
 *  - Host PTEs lose permissions, and host page tables are freed or replaced by a
 *    huge page, only between an MMU notifier's start and end, or with mmap_lock
 *    held for write, or in a VMA that is detached.  The notifier takes mmu_lock
 *    for write at its start and at its end.
 *  - With mmu_lock held, an invalidation has completed (its result is read), is
 *    in progress (kvm_pre_fault_is_invalidated() sees that), or has yet to start
 *    and will zap the new SPTEs.  A sequence count would add nothing, since no
 *    host PTE is used that was read before mmu_lock was taken.
 *  - mmap_lock keeps the VMA, and the page tables above the last level.  For a
 *    hugetlb VMA, whose PMD entries may be in a page table that is shared with
 *    other processes, the first rule holds for that page table, too.
 *  - A PMD entry can change from a page table to a huge page or back between two
 *    reads.  Read it once and use that value.
 */
#include <linux/hugetlb.h>
#include <linux/kvm_host.h>
#include <linux/kvm_pre_fault.h>
#include <linux/mm.h>
#include <linux/mmu_context.h>
#include <linux/sched/signal.h>
#include <linux/userfaultfd_k.h>

/*
 * Fill this many page tables per hold of mmap_lock and SRCU.  Otherwise many vCPUs
 * that pre-fault at once would spend their time on taking these locks.
 */
#define MAX_BATCHES		16

/* Map this many huge pages per hold of mmu_lock, in less time than a page table takes. */
#define MAX_HUGE_PAGES		32

/* Fault in this many pages between two checks of the page table and for waiters. */
#define FAULTS_IN_ONE_GO	16

/*
 * Return true if the VMA belongs to the page cache, to anonymous memory, or to
 * hugetlb with pages of the size that a PMD entry maps.  Only VMAs of the page cache
 * have map_pages(); those of drivers and secretmem do not.
 */
static bool host_vma_is_memory(struct vm_area_struct *vma)
{
	if (is_vm_hugetlb_page(vma))
		return vma_kernel_pagesize(vma) == PMD_SIZE;

	return vma_is_anonymous(vma) || vma->vm_ops->map_pages;
}

/*
 * Return true if present, non-special host PTEs of the VMA map pages that
 * get_user_pages() would return, all with one memory type.
 */
static bool host_vma_usable(struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_READ) ||
	    vma->vm_flags & (VM_IO | VM_PFNMAP | VM_MIXEDMAP))
		return false;

	if (!host_vma_is_memory(vma))
		return false;

	/* A protection key denies access to some threads only. */
	return !vma_is_dax(vma) &&
	       arch_vma_access_permitted(vma, true, false, false);
}

/* Find the entry for the last-level page table.  mmap_lock is held. */
static pmd_t *host_pmd(struct mm_struct *mm, hva_t hva)
{
	pgd_t *pgd;
	p4d_t *p4d;
	pud_t *pud;

	pgd = pgd_offset(mm, hva);
	if (pgd_none(*pgd) || pgd_bad(*pgd))
		return NULL;

	p4d = p4d_offset(pgd, hva);
	if (p4d_none(*p4d) || p4d_bad(*p4d))
		return NULL;

	pud = pud_offset(p4d, hva);
	if (pud_none(*pud) || pud_bad(*pud))
		return NULL;

	return pmd_offset(pud, hva);
}

/*
 * Look up the PTEs from @hva on, at most @npages of them.  The caller keeps the
 * page table, see above and host_nr_usable().
 */
static bool host_lookup(struct mm_struct *mm, hva_t hva, unsigned int npages,
			struct kvm_pre_fault_span *span)
{
	pmd_t *pmdp = host_pmd(mm, hva);
	pmd_t pmd;

	if (!pmdp)
		return false;

	span->pmdp = pmdp;
	span->npages = min_t(unsigned int, npages, PTRS_PER_PTE - pte_index(hva));

	pmd = kvm_pre_fault_read_pmd(pmdp);
	if (kvm_host_pmd_is_huge(pmd)) {
		span->ptep = NULL;
		span->huge = kvm_host_pmd_to_pte(pmd, hva);
		return true;
	}

	if (!pmd_present(pmd) || pmd_bad(pmd))
		return false;

	span->ptep = pte_offset_kernel(&pmd, hva);
	span->huge = 0;
	return true;
}

/*
 * Count the usable PTEs from @hva on, at most @npages.  The result is a hint, as
 * mmu_lock is not held.
 */
static unsigned int host_nr_usable(struct mm_struct *mm, hva_t hva,
				   unsigned int npages)
{
	struct kvm_pre_fault_span span;
	unsigned int n = 0;
	unsigned long flags;

	/* Keep the page table from being freed, as host_pfn_mapping_level() does. */
	local_irq_save(flags);
	if (host_lookup(mm, hva, npages, &span)) {
		while (n < span.npages &&
		       kvm_host_pte_usable(kvm_host_pte(span.ptep, span.huge, n)))
			n++;
	}
	local_irq_restore(flags);

	return n;
}

/* Look up the host PTEs of the batch, up to the first missing page table. */
static bool batch_lookup(struct kvm_pre_fault_batch *b)
{
	struct kvm_pre_fault_span *span = b->spans;
	struct mm_struct *mm = b->vcpu->kvm->mm;

	if (!host_lookup(mm, b->hva, b->npages, &span[0]) ||
	    !kvm_host_pte_usable(kvm_host_pte(span->ptep, span->huge, 0)))
		return false;

	span[1].npages = 0;
	if (span[0].npages < b->npages &&
	    !host_lookup(mm, b->hva + ((hva_t)span[0].npages << PAGE_SHIFT),
			 b->npages - span[0].npages, &span[1]))
		span[1].npages = 0;

	return true;
}

/*
 * Check all gfns of the stage-2 page table, as a huge page may be installed, except
 * those to which no hva corresponds.  If one of several huge pages is being
 * invalidated, try the first one alone.
 */
static bool batch_is_invalidated(struct kvm_pre_fault_batch *b)
{
	const gfn_t offset = min_t(gfn_t, b->gfn & (PTRS_PER_PTE - 1),
				   b->hva >> PAGE_SHIFT);
	const gfn_t gfn = b->gfn - offset;
	const hva_t hva = b->hva - (offset << PAGE_SHIFT);
	struct kvm *kvm = b->vcpu->kvm;

	if (b->nr_huge > 1) {
		if (!kvm_pre_fault_is_invalidated(kvm, gfn, hva,
						  b->nr_huge * PTRS_PER_PTE))
			return false;
		b->nr_huge = 1;
	}

	return kvm_pre_fault_is_invalidated(kvm, gfn, hva, PTRS_PER_PTE);
}

/* Returns the number of pages that are mapped.  mmap_lock is held. */
static unsigned int batch_map(struct kvm_pre_fault_batch *b)
{
	struct kvm *kvm = b->vcpu->kvm;
	unsigned int n = 0;

	kvm_pre_fault_lock(kvm);
	rcu_read_lock();

	if (!batch_is_invalidated(b) && batch_lookup(b))
		n = kvm_arch_pre_fault_install(b);

	rcu_read_unlock();
	kvm_pre_fault_unlock(kvm);

	return n;
}

static bool batch_should_stop(struct mm_struct *mm)
{
	return need_resched() || signal_pending(current) ||
	       mmap_lock_is_contended(mm);
}

/*
 * Take up to @nr faults, one for each page from @hva on.  FAULT_FLAG_RETRY_NOWAIT
 * keeps the handler from dropping mmap_lock, but not from sleeping: stop after the
 * first page that had to be read.  Return the flags that stopped the loop, or 0.
 */
static vm_fault_t host_fault_in(struct vm_area_struct *vma, hva_t hva, unsigned int nr)
{
	const unsigned int flags = FAULT_FLAG_ALLOW_RETRY |
				   FAULT_FLAG_RETRY_NOWAIT;
	vm_fault_t fault;

	while (nr--) {
		fault = handle_mm_fault(vma, hva, flags, NULL);
		fault &= VM_FAULT_ERROR | VM_FAULT_RETRY | VM_FAULT_MAJOR;
		if (fault)
			return fault;
		hva += PAGE_SIZE;
	}

	return 0;
}

/*
 * Have the host fault in missing pages, as a read.  Return 1 if the first page was
 * missing and is present now, 0 if not, -ENOMEM if the host had no memory for it.
 */
static int batch_fault_in(struct kvm_pre_fault_batch *b,
			  struct vm_area_struct *vma)
{
	unsigned int nr = 1, done = 0, n;
	vm_fault_t fault = 0;
	bool more = true;
	hva_t hva;

	/* Only the one-page path can wait for a handler in userspace. */
	if (userfaultfd_armed(vma))
		return 0;

	/* A shared page table of hugetlb must not be read without mmu_lock. */
	if (is_vm_hugetlb_page(vma))
		return 0;

	if (host_nr_usable(vma->vm_mm, b->hva, 1))
		return 0;

	while (more && done < b->npages) {
		hva = b->hva + ((hva_t)done << PAGE_SHIFT);
		nr = min(nr, b->npages - done);
		fault = host_fault_in(vma, hva, nr);

		n = host_nr_usable(vma->vm_mm, hva, b->npages - done);
		more = !fault && n >= nr;
		done += n;

		/*
		 * A fault may have mapped pages around its own as well.  If not,
		 * take more faults before the next check.
		 */
		nr = n == nr ? FAULTS_IN_ONE_GO : 1;

		if (more && batch_should_stop(vma->vm_mm))
			break;
	}

	/* The one-page path may report this as -EFAULT. */
	if (!done && (fault & VM_FAULT_OOM))
		return -ENOMEM;

	return !!done;
}

/* Return the size of the next batch, at most @npages. */
static unsigned int batch_size(struct kvm_pre_fault_batch *b, u64 npages)
{
	npages = min_t(u64, npages, kvm_pre_fault_max_pages());
	return min_t(u64, npages,
		     PTRS_PER_PTE - (b->gfn & (PTRS_PER_PTE - 1)));
}

/*
 * Return how many huge pages may begin at b->gfn, all with PMD entries in one host page
 * table; 0 if gfn and hva do not begin one.
 */
static unsigned int batch_nr_huge(struct kvm_pre_fault_batch *b, u64 npages)
{
	if ((b->gfn | b->hva >> PAGE_SHIFT) & (PTRS_PER_PTE - 1))
		return 0;

	npages = min_t(u64, npages, MAX_HUGE_PAGES * PTRS_PER_PTE);
	return min_t(unsigned int, npages / PTRS_PER_PTE,
		     PTRS_PER_PMD - pmd_index(b->hva));
}

/* Returns the number of pages that are mapped, or -ENOMEM.  mmap_lock is held. */
static long batches_map(struct kvm_pre_fault_batch *b, struct vm_area_struct *vma,
			u64 npages)
{
	unsigned int n;
	long done = 0;
	int i, r;

	for (i = 0; i < MAX_BATCHES && npages; i++) {
		if (i && (batch_should_stop(vma->vm_mm) ||
			  kvm_arch_pre_fault_topup(b->vcpu)))
			break;

		b->npages = batch_size(b, npages);
		b->nr_huge = batch_nr_huge(b, npages);
		n = batch_map(b);
		if (!n) {
			r = batch_fault_in(b, vma);
			if (r < 0)
				return done ?: r;
			if (r && !kvm_arch_pre_fault_topup(b->vcpu))
				n = batch_map(b);
		}

		done += n;
		npages -= n;
		b->gfn += n;
		b->hva += (hva_t)n << PAGE_SHIFT;

		if (n < b->npages)
			break;
	}

	return done;
}

/*
 * Map pages that the host has mapped, from @gfn on, at most @npages.  The range may
 * extend beyond the end of @slot.  Called inside an SRCU read section of kvm->srcu
 * with no MMU lock held, may sleep.
 *
 * Returns the number of pages that are mapped, from the first one on; 0 if the
 * first page is left to the one-page path; -EINTR if a fatal signal came while
 * waiting for mmap_lock; -ENOMEM.
 */
long kvm_pre_fault_host(struct kvm_vcpu *vcpu, const struct kvm_memory_slot *slot,
			gfn_t gfn, u64 npages)
{
	struct mm_struct *mm = vcpu->kvm->mm;
	struct kvm_pre_fault_batch b = {
		.vcpu = vcpu,
		.slot = slot,
		.gfn = gfn,
		.hva = __gfn_to_hva_memslot(slot, gfn),
	};
	struct vm_area_struct *vma;
	long done = 0;
	int r;

	/* KVM's own memslots, e.g. the APIC access page, have rules of their own. */
	if (slot->id >= KVM_USER_MEM_SLOTS)
		return 0;

	/* Nothing can be allocated under mmu_lock. */
	r = kvm_arch_pre_fault_topup(vcpu);
	if (r)
		return r;

	if (mmap_read_lock_killable(mm))
		return -EINTR;

	vma = vma_lookup(mm, b.hva);
	if (vma && host_vma_usable(vma)) {
		npages = min(npages, slot->base_gfn + slot->npages - gfn);
		npages = min_t(u64, npages, (vma->vm_end - b.hva) >> PAGE_SHIFT);
		done = batches_map(&b, vma, npages);
	}

	mmap_read_unlock(mm);

	return done;
}
