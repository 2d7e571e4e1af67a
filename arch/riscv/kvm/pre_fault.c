// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY for RISC-V: map a page in the G-stage as a guest read
 * would, without a guest.  Unlike a guest's fault, a pre-fault never touches a
 * PTE that the guest can use, and puts a large mapping in the place of no table
 * but an empty one.
 *
 * Where the host has mapped pages of a normal kind, up to a table's worth of
 * them is mapped in one go, from the host's page table as it stands and without
 * a reference to any page.  What is not recognised with certainty is left to
 * the one-page path.
 *
 * Lock order: mmap_lock (read), the host's page table lock, mmu_lock, as in the
 * MMU notifiers that are called under the page table lock.
 *
 *  - mmap_lock keeps the VMA, and keeps the host's page table from being freed
 *    or replaced by a huge page.
 *  - Who makes an entry non-present or less permissive either holds mmap_lock
 *    for write, or takes the page table lock between the MMU notifier's start
 *    and end.
 *  - An invalidation of what is read here is therefore over, so that its outcome
 *    is read; or in progress, for all to see under mmu_lock; or yet to start,
 *    and then unmaps what is mapped here. No sequence count is needed.
 *
 * The G-stage is read and written under mmu_lock only.
 */
#include <linux/hugetlb.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>

/* How many page tables a mapping may need: Sv57x4 has five, one is there. */
#define MAX_NEW_TABLES		4

/* Up to how many PTEs are flushed one by one, rather than the VM's all */
#define MAX_FLUSH_PAGES		16

/*
 * What a host PTE must be: of user memory, and of a normal page, for which the
 * bits above the address (memory type, size) have just one value.
 */
#define HOST_PTE_NORMAL		(_PAGE_PRESENT | _PAGE_READ | _PAGE_USER)
#define HOST_PTE_CHECK		(HOST_PTE_NORMAL | _PAGE_SPECIAL | GENMASK(63, 54))

/* Pages that are mapped together, by one page table on either side */
struct pre_fault_batch {
	struct kvm_vcpu *vcpu;
	const struct kvm_memory_slot *slot;
	gpa_t gpa;
	hva_t hva;
	unsigned long npages;
	unsigned long installed;
	bool new_table;

	/* The host's PTEs, or else what its huge page would have as the first */
	pte_t *host_ptep;
	unsigned long huge;

	/* What HOST_PTE_CHECK leaves of a normal page's PTE */
	unsigned long normal;
};

static unsigned long level_size(u32 level)
{
	return PAGE_SIZE << (level * (PMD_SHIFT - PAGE_SHIFT));
}

static u64 rest_of(u64 size, gpa_t gpa)
{
	return size - (gpa & (size - 1));
}

static bool slot_is_logging(const struct kvm_memory_slot *slot)
{
	return slot->dirty_bitmap && !(slot->flags & KVM_MEM_READONLY);
}

/* With dirty logging, the guest's first write has to be noticed. */
static bool slot_writable(const struct kvm_memory_slot *slot)
{
	return !(slot->flags & KVM_MEM_READONLY) && !slot_is_logging(slot);
}

static pte_t host_pte(const struct pre_fault_batch *b, unsigned long i)
{
	return b->host_ptep ? ptep_get(b->host_ptep + i) :
			      __pte(b->huge + (i << _PAGE_PFN_SHIFT));
}

/* A special PTE may have any pfn, of which only one is fine. */
static bool host_pte_usable(const struct pre_fault_batch *b, pte_t pte)
{
	const unsigned long check = pte_val(pte) & HOST_PTE_CHECK;

	return check == b->normal ||
	       (check == (b->normal | _PAGE_SPECIAL) && is_zero_pfn(pte_pfn(pte)));
}

/*
 * Fill the gaps of a table.  Returns how many pages are mapped, from the first
 * one on.
 */
static unsigned long batch_fill(struct pre_fault_batch *b, pte_t *ptep)
{
	const unsigned long template[2] = {
		pte_val(gstage_leaf_pte(0, true, true)),
		pte_val(gstage_leaf_pte(0, false, true)),
	};
	const bool slot_w = slot_writable(b->slot);
	unsigned long i, filled = 0;
	bool writable;
	pte_t pte;

	for (i = 0; i < b->npages; i++) {
		/* As in pre_fault_map() */
		if (pte_user(ptep[i]))
			continue;

		pte = host_pte(b, i);
		if (!host_pte_usable(b, pte))
			break;

		/* Of the host's PTE only the address is taken. */
		writable = slot_w && pte_write(pte);
		set_pte(ptep + i, __pte(template[writable] |
					(pte_val(pte) & _PAGE_PFN_MASK)));
		filled++;

		/*
		 * The guest's writes leave no trace but this one; if the host's
		 * PTE is dirty, the page gets to know from there.
		 */
		if (writable && !pte_dirty(pte))
			kvm_set_pfn_dirty(pte_pfn(pte));
	}
	b->installed += filled;

	return i;
}

/* Make a table, which nobody sees before it is filled, for all of the batch. */
static unsigned long batch_fill_new(struct pre_fault_batch *b)
{
	struct kvm_mmu_memory_cache *pcache = &b->vcpu->arch.mmu_page_cache;
	struct kvm *kvm = b->vcpu->kvm;
	unsigned long n;
	pte_t *table, pte;

	table = kvm_mmu_memory_cache_alloc(pcache);
	if (!table)
		return 0;

	n = batch_fill(b, table + pte_index(b->gpa));

	/* The PTEs, before what leads there */
	smp_wmb();
	pte = pfn_pte(PFN_DOWN(__pa(table)), __pgprot(_PAGE_TABLE));
	if (gstage_set_pte(kvm, 1, pcache, b->gpa, &pte)) {
		free_page((unsigned long)table);
		b->installed = 0;
		return 0;
	}
	b->new_table = true;

	return n;
}

/* The host's page table lock and mmu_lock are held. */
static unsigned long batch_install(struct pre_fault_batch *b)
{
	pte_t *ptep;
	u32 level;

	if (gstage_get_leaf_entry(b->vcpu->kvm, b->gpa, &ptep, &level) && level)
		return min_t(u64, b->npages,
			     rest_of(level_size(level), b->gpa) >> PAGE_SHIFT);

	return level ? batch_fill_new(b) : batch_fill(b, ptep);
}

/*
 * mmu_invalidate_retry_hva() for a range: for all of the huge page, if that is
 * what the host has.
 */
static bool batch_is_invalidated(const struct pre_fault_batch *b)
{
	hva_t end = b->hva + (b->npages << PAGE_SHIFT);
	struct kvm *kvm = b->vcpu->kvm;
	hva_t start = b->hva;

	if (!b->host_ptep) {
		start &= PMD_MASK;
		end = start + PMD_SIZE;
	}

	return kvm->mmu_invalidate_in_progress &&
	       start < kvm->mmu_invalidate_range_end &&
	       end > kvm->mmu_invalidate_range_start;
}

/* The host's page table lock is held. */
static unsigned long batch_map_locked(struct pre_fault_batch *b)
{
	struct kvm *kvm = b->vcpu->kvm;
	unsigned long n = 0;

	if (!host_pte_usable(b, host_pte(b, 0)))
		return 0;

	spin_lock(&kvm->mmu_lock);
	if (!batch_is_invalidated(b))
		n = batch_install(b);
	spin_unlock(&kvm->mmu_lock);

	return n;
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
	if (pmd_trans_huge(pmd)) {
		ptl = pmd_lock(mm, pmdp);
		pmd = READ_ONCE(*pmdp);
		if (pmd_trans_huge(pmd)) {
			b->huge = pmd_val(pmd) +
				  (pte_index(b->hva) << _PAGE_PFN_SHIFT);
			n = batch_map_locked(b);
		}
		spin_unlock(ptl);
	} else if (pmd_present(pmd) && !pmd_bad(pmd)) {
		b->host_ptep = pte_offset_map_lock(mm, pmdp, b->hva, &ptl);
		n = batch_map_locked(b);
		pte_unmap_unlock(b->host_ptep, ptl);
	}

	return n;
}

/*
 * A hart may have cached that an entry is invalid, and fault on it until told
 * otherwise.  That is harmless, as that fault flushes, but what the pre-fault
 * is to spare the guest.  It does not matter how much later than the PTEs the
 * flush comes, and thus one is enough for all.  By address it reaches leaf PTEs
 * only: what leads to a new table needs a flush of all.
 */
static void batch_flush(const struct pre_fault_batch *b, unsigned long n)
{
	if (b->new_table || n > MAX_FLUSH_PAGES)
		kvm_flush_remote_tlbs(b->vcpu->kvm);
	else
		kvm_riscv_hfence_gvma_vmid_gpa(b->vcpu->kvm, -1UL, 0, b->gpa,
					       n << PAGE_SHIFT, PAGE_SHIFT);
}

/*
 * Map what the host has mapped.  Returns how many pages are mapped, from the
 * first one on; 0 if that one is to be mapped in another way; or -EINTR.
 */
static long pre_fault_batch(struct kvm_vcpu *vcpu,
			    const struct kvm_memory_slot *slot, gpa_t gpa, u64 size)
{
	const gfn_t gfn = gpa_to_gfn(gpa);
	struct pre_fault_batch b = {
		.vcpu = vcpu,
		.slot = slot,
		.gpa = gpa,
		.hva = __gfn_to_hva_memslot(slot, gfn),
		.normal = pte_val(pfn_pte(0, __pgprot(HOST_PTE_NORMAL))),
	};
	struct mm_struct *mm = vcpu->kvm->mm;
	struct vm_area_struct *vma;
	unsigned long n = 0;
	u64 npages;

	npages = min_t(u64, size >> PAGE_SHIFT, slot->base_gfn + slot->npages - gfn);
	npages = min_t(u64, npages, PTRS_PER_PTE - pte_index(gpa));
	npages = min_t(u64, npages, PTRS_PER_PTE - pte_index(b.hva));

	if (mmap_read_lock_killable(mm))
		return -EINTR;

	vma = vma_lookup(mm, b.hva);
	if (vma && kvm_pre_fault_vma_usable(vma)) {
		b.npages = min_t(u64, npages, (vma->vm_end - b.hva) >> PAGE_SHIFT);
		n = batch_map(&b);
	}

	mmap_read_unlock(mm);

	if (b.installed) {
		batch_flush(&b, n);
		vcpu->stat.pf_prefaulted += b.installed;
	}

	return n;
}

/* The host's PTE of whatever size, or 0.  mmap_lock is held. */
static unsigned long host_leaf(struct mm_struct *mm, hva_t hva, bool hugetlb)
{
	pgd_t *pgdp = pgd_offset(mm, hva);
	p4d_t *p4dp;
	pud_t *pudp, pud;
	pmd_t *pmdp, pmd;

	if (pgd_none(*pgdp) || pgd_bad(*pgdp))
		return 0;

	p4dp = p4d_offset(pgdp, hva);
	if (p4d_none(*p4dp) || p4d_bad(*p4dp))
		return 0;

	pudp = pud_offset(p4dp, hva);
	pud = READ_ONCE(*pudp);
	if (!pud_present(pud) || pud_leaf(pud))
		return pud_val(pud);

	/* A table of hugetlb's may be another process's, and go at any time. */
	pmdp = pmd_offset(pudp, hva);
	pmd = READ_ONCE(*pmdp);
	if (hugetlb || !pmd_present(pmd) || pmd_leaf(pmd))
		return pmd_val(pmd);

	return pte_val(ptep_get(pte_offset_kernel(pmdp, hva)));
}

/*
 * Look at the host's mapping of a page that was just looked up.  As with a fault,
 * only hugetlb gets large mappings.  That the guest may write has to be seen here,
 * as there is no get_user_pages_fast() on RISC-V to tell.  What changes after
 * mmu_invalidate_seq was sampled makes the attempt void.
 */
static int look_at_host(struct mm_struct *mm, hva_t hva, unsigned long *size,
			bool *writable)
{
	const unsigned long write = _PAGE_PRESENT | _PAGE_WRITE;
	struct vm_area_struct *vma;
	bool hugetlb;

	if (mmap_read_lock_killable(mm))
		return -EINTR;

	vma = vma_lookup(mm, hva);
	if (vma) {
		hugetlb = is_vm_hugetlb_page(vma);
		*size = hugetlb ? huge_page_size(hstate_vma(vma)) : PAGE_SIZE;
		if ((host_leaf(mm, hva, hugetlb) & write) == write)
			*writable = true;
	}
	mmap_read_unlock(mm);

	return 0;
}

/*
 * What was unmapped has left its table behind, which a guest's fault overwrites.
 * Returns the table that @ptep is in if it is empty.
 */
static void *empty_table(pte_t *ptep)
{
	void *table = (void *)((unsigned long)ptep & PAGE_MASK);

	return memchr_inv(table, 0, PAGE_SIZE) ? NULL : table;
}

/*
 * Map @pfn, or the huge page that it is part of, unless @gpa is mapped.  Returns
 * the size of the mapping that is there, or -errno.  mmu_lock is held.
 */
static long pre_fault_map(struct kvm_vcpu *vcpu, gpa_t gpa, kvm_pfn_t pfn,
			  u64 size, bool writable)
{
	struct kvm_mmu_memory_cache *pcache = &vcpu->arch.mmu_page_cache;
	struct kvm *kvm = vcpu->kvm;
	void *table = NULL;
	pte_t *ptep;
	u32 level;
	int r;

	/* No guest gets at what came with the memslot, see VM_PFNMAP in mmu.c. */
	if (gstage_get_leaf_entry(kvm, gpa, &ptep, &level) && pte_user(*ptep))
		return level_size(level);

	/* Is there a table in the place of a large mapping? */
	if (!level && size > PAGE_SIZE) {
		table = empty_table(ptep);
		size = table ? PMD_SIZE : PAGE_SIZE;
	} else {
		size = min_t(u64, size, level_size(level));
	}
	pfn = ALIGN_DOWN(pfn, size >> PAGE_SHIFT);

	r = gstage_map_page(kvm, pcache, ALIGN_DOWN(gpa, size), pfn << PAGE_SHIFT,
			    size, !writable, true);
	if (r)
		return r;

	/*
	 * Harts may have cached where the table was. Guests use it no more after
	 * the flush; HLV, outside of guest mode, may until the vCPU goes back
	 * there. It must not find other data then: keep it, zeroed as it is, as
	 * a table of this VM and free one that never was.
	 */
	if (table) {
		kvm_flush_remote_tlbs(kvm);
		swap(table, pcache->objects[0]);
		free_page((unsigned long)table);
	}

	/* In a slot with dirty logging nothing is writable. */
	if (writable)
		kvm_set_pfn_dirty(pfn);
	vcpu->stat.pf_prefaulted += size >> PAGE_SHIFT;

	return size;
}

/* Returns the size of the mapping that is there, 0 to try again, or -errno. */
static long pre_fault_page(struct kvm_vcpu *vcpu, const struct kvm_memory_slot *slot,
			   gpa_t gpa)
{
	struct kvm *kvm = vcpu->kvm;
	unsigned long size = PAGE_SIZE;
	unsigned long mmu_seq;
	bool writable;
	kvm_pfn_t pfn;
	hva_t hva;
	long r;

	mmu_seq = READ_ONCE(kvm->mmu_invalidate_seq);
	/* Before the host's page tables are read, see mmu_invalidate_retry(). */
	smp_rmb();

	r = kvm_pre_fault_pfn(kvm, slot, gpa_to_gfn(gpa), &pfn, &writable, &hva);
	if (r)
		return r;

	r = look_at_host(kvm->mm, hva, &size, &writable);
	if (r)
		goto out_release;

	size = slot_is_logging(slot) ? PAGE_SIZE :
				       gstage_leaf_size(slot, gpa, hva, size);

	/*
	 * Who enables dirty logging installs a new memslot and waits for SRCU
	 * readers of the old one, before dealing with what was mapped through
	 * that.
	 */
	writable = writable && slot_writable(slot);

	spin_lock(&kvm->mmu_lock);
	if (mmu_invalidate_retry(kvm, mmu_seq))
		r = 0;
	else
		r = pre_fault_map(vcpu, gpa, pfn, size, writable);
	spin_unlock(&kvm->mmu_lock);

out_release:
	kvm_release_pfn_clean(pfn);
	return r;
}

/**
 * kvm_arch_vcpu_pre_fault_memory - map the start of a range in the G-stage
 * @vcpu: a vCPU of the VM whose G-stage is filled
 * @gpa: start of the range, in bytes, page-aligned
 * @size: size of the range, in bytes, page-aligned and not zero
 *
 * Context: vcpu->mutex held, inside an SRCU read section of kvm->srcu, no MMU lock
 * held. May sleep. Takes mmap_lock for read, and within it the host's page table
 * lock and mmu_lock.
 *
 * Return:
 * * > 0		- that many bytes from @gpa on are mapped, @size at most
 * * 0			- lost a race, to be called again
 * * -EAGAIN		- the memslot at @gpa is being deleted or moved
 * * -EFAULT		- the host memory behind @gpa can't be read
 * * -EHWPOISON		- the host page behind @gpa is poisoned
 * * -EINTR		- a signal came while waiting for the host page
 * * -ENOENT		- there is no memslot at @gpa
 * * -ENOMEM		- no memory for the host page or for page tables
 */
long kvm_arch_vcpu_pre_fault_memory(struct kvm_vcpu *vcpu, gpa_t gpa, u64 size)
{
	struct kvm_memory_slot *slot;
	struct kvm *kvm = vcpu->kvm;
	long r;

	/* None reaches beyond the G-stage. */
	slot = gfn_to_memslot(kvm, gpa_to_gfn(gpa));
	if (!slot)
		return -ENOENT;

	/*
	 * The task that deletes or moves the memslot waits for this SRCU
	 * reader: waiting for the task in turn would be a deadlock.
	 */
	if (slot->flags & KVM_MEMSLOT_INVALID)
		return -EAGAIN;

	/* Nothing can be allocated under mmu_lock. */
	r = kvm_mmu_topup_memory_cache(&vcpu->arch.mmu_page_cache,
				       MAX_NEW_TABLES);
	if (r)
		return r;

	r = pre_fault_batch(vcpu, slot, gpa, size);
	if (r)
		return r < 0 ? r : r << PAGE_SHIFT;

	r = pre_fault_page(vcpu, slot, gpa);
	if (r <= 0)
		return r;

	return min(rest_of(r, gpa), size);
}
