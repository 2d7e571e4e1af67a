// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY for arm64: map a page in the VM's own stage-2 as a guest
 * read would, without a guest.  Unlike a guest's fault, a pre-fault never
 * touches a PTE that is valid, and never puts a block in the place of a table.
 *
 * Where the host has mapped pages of a normal kind, up to a table's worth of
 * them is mapped in one go, from the host's page table as it stands and without
 * a reference to any page.  What is not recognised with certainty is left to
 * the one-page path.
 *
 * Lock order: mmap_lock (read), the host's page table lock, mmu_lock (write), as
 * in the MMU notifiers that are called under the page table lock.
 *
 *  - mmap_lock keeps the VMA, and keeps the host's page table from being freed
 *    or replaced by a huge page.
 *  - Who makes an entry non-present or less permissive either holds mmap_lock
 *    for write, or takes the page table lock between the MMU notifier's start
 *    and end.
 *  - An invalidation of what is read here is therefore over, so that its outcome
 *    is read; or in progress, for all to see under mmu_lock; or yet to start,
 *    and then unmaps what is mapped here. No sequence count is needed.
 */
#include <linux/cpufeature.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/sizes.h>

#include <asm/barrier.h>
#include <asm/kvm_mmu.h>
#include <asm/kvm_pgtable.h>
#include <asm/virt.h>

/*
 * How many pages are mapped under one hold of the locks: a table of 4K pages.
 * Without FWB each has to be cleaned from the caches, all its bytes, which is
 * what takes the time then.
 */
#define MAX_BATCH		512
#define MAX_BATCH_TO_CLEAN	(SZ_256K >> PAGE_SHIFT)

/* What a host PTE must be: of user memory and of a normal page. */
#define HOST_PTE_CHECK		(PTE_VALID | PTE_USER | PTE_SPECIAL | PTE_DEVMAP)
#define HOST_PTE_NORMAL		(PTE_VALID | PTE_USER)
#define HOST_PTE_ZERO		(PTE_VALID | PTE_USER | PTE_SPECIAL)

/* Pages that are mapped together, by one page table on either side */
struct pre_fault_batch {
	struct kvm_vcpu *vcpu;
	const struct kvm_memory_slot *slot;
	gpa_t gpa;
	hva_t hva;
	unsigned long npages;
	unsigned long installed;

	/* The host's PTEs, or else what its huge page would have as the first */
	pte_t *host_ptep;
	pteval_t huge;

	/* PTEs without an address: read-only, writable; 0 if not made yet */
	kvm_pte_t template[2];
};

/* Where a walk has ended */
struct pre_fault_leaf {
	kvm_pte_t *ptep;
	u32 level;
};

static int leaf_visitor(u64 addr, u64 end, u32 level, kvm_pte_t *ptep,
			enum kvm_pgtable_walk_flags flag, void * const arg)
{
	struct pre_fault_leaf *leaf = arg;

	leaf->ptep = ptep;
	leaf->level = level;

	return 0;
}

/* Find the PTE for @gpa that is no table, valid or not. */
static int find_leaf(struct kvm_pgtable *pgt, gpa_t gpa, struct pre_fault_leaf *leaf)
{
	struct kvm_pgtable_walker walker = {
		.cb	= leaf_visitor,
		.flags	= KVM_PGTABLE_WALK_LEAF,
		.arg	= leaf,
	};

	return kvm_pgtable_walk(pgt, gpa, PAGE_SIZE, &walker);
}

static u64 rest_of(u64 size, gpa_t gpa)
{
	return size - (gpa & (size - 1));
}

static enum kvm_pgtable_prot pre_fault_prot(bool writable, bool device)
{
	enum kvm_pgtable_prot prot = KVM_PGTABLE_PROT_R;

	if (writable)
		prot |= KVM_PGTABLE_PROT_W;

	if (device)
		prot |= KVM_PGTABLE_PROT_DEVICE;
	else if (cpus_have_const_cap(ARM64_HAS_CACHE_DIC))
		prot |= KVM_PGTABLE_PROT_X;

	return prot;
}

static pte_t host_pte(const struct pre_fault_batch *b, unsigned long i)
{
	return b->host_ptep ? ptep_get(b->host_ptep + i) :
			      __pte(b->huge + (i << PAGE_SHIFT));
}

/* A special PTE may have any pfn, of which only one is fine. */
static bool host_pte_usable(pte_t pte)
{
	const pteval_t check = pte_val(pte) & HOST_PTE_CHECK;

	return check == HOST_PTE_NORMAL ||
	       (check == HOST_PTE_ZERO && is_zero_pfn(pte_pfn(pte)));
}

/* With dirty logging, the guest's first write has to be noticed. */
static bool slot_writable(const struct kvm_memory_slot *slot)
{
	return !(slot->flags & KVM_MEM_READONLY) && !memslot_is_logging(slot);
}

/* Map the i-th page by the book, and learn what its PTE looks like. */
static int batch_map_one(struct pre_fault_batch *b, unsigned long i, bool writable)
{
	struct kvm_pgtable *pgt = b->vcpu->kvm->arch.mmu.pgt;
	const gpa_t gpa = b->gpa + (i << PAGE_SHIFT);
	kvm_pte_t pte;
	int r;

	r = kvm_pgtable_stage2_map(pgt, gpa, PAGE_SIZE,
				   __pte_to_phys(host_pte(b, i)),
				   pre_fault_prot(writable, false),
				   &b->vcpu->arch.mmu_page_cache);
	if (r)
		return r;

	b->installed++;

	r = kvm_pgtable_get_leaf(pgt, gpa, &pte, NULL);
	if (!r)
		b->template[writable] = pte & ~PTE_ADDR_MASK;

	return r;
}

/*
 * Fill the gaps of a table.  Returns how many pages are mapped, from the first
 * one on.
 */
static unsigned long batch_fill(struct pre_fault_batch *b, kvm_pte_t *ptep)
{
	const bool slot_w = slot_writable(b->slot);
	unsigned long i, filled = 0;
	bool writable;
	pte_t pte;

	for (i = 0; i < b->npages; i++) {
		if (kvm_pte_valid(READ_ONCE(ptep[i])))
			continue;

		pte = host_pte(b, i);
		if (!host_pte_usable(pte))
			break;

		writable = slot_w && pte_write(pte);
		if (b->template[writable]) {
			/*
			 * What kvm_pgtable_stage2_map() does for a PTE that was
			 * not valid. It is executable only where the instruction
			 * cache needs no maintenance for that.
			 */
			__clean_dcache_guest_page(__va(__pte_to_phys(pte)),
						  PAGE_SIZE);
			/* The guest must not read what was there before. */
			smp_store_release(ptep + i, b->template[writable] |
					  (pte_val(pte) & PTE_ADDR_MASK));
			filled++;
		} else if (batch_map_one(b, i, writable)) {
			break;
		}

		/*
		 * The guest's writes leave no trace but this one; if the host's
		 * PTE is dirty, the page gets to know from there.
		 */
		if (writable && !pte_dirty(pte))
			kvm_set_pfn_dirty(pte_pfn(pte));
	}

	/* Each PTE in use has a reference to its table. */
	if (filled) {
		page_ref_add(virt_to_page(ptep), filled);
		dsb(ishst);
	}
	b->installed += filled;

	return i;
}

/* The host's page table lock and mmu_lock are held. */
static unsigned long batch_install(struct pre_fault_batch *b)
{
	struct kvm_pgtable *pgt = b->vcpu->kvm->arch.mmu.pgt;
	struct pre_fault_leaf leaf;
	bool writable;
	u64 rest;

	if (find_leaf(pgt, b->gpa, &leaf))
		return 0;

	if (leaf.level == KVM_PGTABLE_MAX_LEVELS - 1)
		return batch_fill(b, leaf.ptep);

	if (kvm_pte_valid(*leaf.ptep)) {
		rest = rest_of(kvm_granule_size(leaf.level), b->gpa);
		return min_t(u64, b->npages, rest >> PAGE_SHIFT);
	}

	/* A block is to come here: leave it to the one-page path. */
	if (!b->host_ptep && !memslot_is_logging(b->slot) &&
	    fault_supports_stage2_huge_mapping(b->slot, b->hva, PMD_SIZE))
		return 0;

	/* There is no table yet, and mapping the first page makes it. */
	writable = slot_writable(b->slot) && pte_write(host_pte(b, 0));
	if (batch_map_one(b, 0, writable) || find_leaf(pgt, b->gpa, &leaf))
		return 0;
	if (writable && !pte_dirty(host_pte(b, 0)))
		kvm_set_pfn_dirty(pte_pfn(host_pte(b, 0)));

	return batch_fill(b, leaf.ptep);
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

	if (!host_pte_usable(host_pte(b, 0)))
		return 0;

	write_lock(&kvm->mmu_lock);
	if (!batch_is_invalidated(b))
		n = batch_install(b);
	write_unlock(&kvm->mmu_lock);

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
			b->huge = pmd_val(pmd) + (b->hva & ~PMD_MASK);
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
	};
	struct mm_struct *mm = vcpu->kvm->mm;
	struct vm_area_struct *vma;
	unsigned long n = 0;
	u64 npages;

	/* The tags of each page have to be looked at. */
	if (kvm_has_mte(vcpu->kvm))
		return 0;

	npages = min_t(u64, size >> PAGE_SHIFT, slot->base_gfn + slot->npages - gfn);
	npages = min_t(u64, npages, PTRS_PER_PTE - pte_index(gpa));
	npages = min_t(u64, npages, PTRS_PER_PTE - pte_index(b.hva));
	npages = min_t(u64, npages, cpus_have_const_cap(ARM64_HAS_STAGE2_FWB) ?
				    MAX_BATCH : MAX_BATCH_TO_CLEAN);

	if (mmap_read_lock_killable(mm))
		return -EINTR;

	vma = vma_lookup(mm, b.hva);
	if (vma && kvm_pre_fault_vma_usable(vma)) {
		b.npages = min_t(u64, npages, (vma->vm_end - b.hva) >> PAGE_SHIFT);
		n = batch_map(&b);
	}

	mmap_read_unlock(mm);

	vcpu->stat.pf_prefaulted += b.installed;

	return n;
}

/*
 * The size of the mapping to make for a page that is not mapped, given the size
 * of the host's mapping and the level of the PTE that was found invalid.  A
 * table below that of a block is in use, as an empty one is freed.
 */
static u64 pre_fault_size(const struct kvm_memory_slot *slot, hva_t hva,
			  u64 host_size, u32 level)
{
	const u64 size = min(host_size, kvm_granule_size(level));

	if (size >= PUD_SIZE &&
	    fault_supports_stage2_huge_mapping(slot, hva, PUD_SIZE))
		return PUD_SIZE;

	if (size >= PMD_SIZE &&
	    fault_supports_stage2_huge_mapping(slot, hva, PMD_SIZE))
		return PMD_SIZE;

	return PAGE_SIZE;
}

/*
 * Map @pfn, or the huge page that it is part of, unless @gpa is mapped.  Returns
 * the size of the mapping that is there, or -errno.  mmu_lock is held for write.
 */
static long pre_fault_map(struct kvm_vcpu *vcpu, const struct kvm_memory_slot *slot,
			  gpa_t gpa, hva_t hva, kvm_pfn_t pfn, bool writable)
{
	const bool device = !pfn_is_map_memory(pfn);
	struct kvm *kvm = vcpu->kvm;
	struct kvm_pgtable *pgt = kvm->arch.mmu.pgt;
	struct pre_fault_leaf leaf;
	u64 size = PAGE_SIZE;
	int r;

	r = find_leaf(pgt, gpa, &leaf);
	if (r)
		return r;

	if (kvm_pte_valid(*leaf.ptep))
		return kvm_granule_size(leaf.level);

	if (!device && !memslot_is_logging(slot)) {
		r = get_user_mapping_size(kvm, hva);
		if (r < 0)
			return r;
		size = pre_fault_size(slot, hva, r, leaf.level);
		pfn = ALIGN_DOWN(pfn, size >> PAGE_SHIFT);
	}

	if (!device) {
		r = sanitise_mte_tags(kvm, pfn, size);
		if (r)
			return r;
	}

	r = kvm_pgtable_stage2_map(pgt, ALIGN_DOWN(gpa, size), size,
				   __pfn_to_phys(pfn),
				   pre_fault_prot(writable, device),
				   &vcpu->arch.mmu_page_cache);
	if (r)
		return r;

	/* In a slot with dirty logging nothing is writable. */
	if (writable)
		kvm_set_pfn_dirty(pfn);
	vcpu->stat.pf_prefaulted += size >> PAGE_SHIFT;

	return size;
}

/* A guest with MTE sees a page's tags, which must be of no other mapping. */
static int pre_fault_check_mte(struct kvm *kvm, hva_t hva, kvm_pfn_t pfn)
{
	struct vm_area_struct *vma;
	int r = -EFAULT;

	if (!kvm_has_mte(kvm) || !pfn_is_map_memory(pfn))
		return 0;

	if (mmap_read_lock_killable(kvm->mm))
		return -EINTR;

	vma = vma_lookup(kvm->mm, hva);
	if (vma && !(vma->vm_flags & VM_SHARED))
		r = 0;
	mmap_read_unlock(kvm->mm);

	return r;
}

/* Returns the size of the mapping that is there, 0 to try again, or -errno. */
static long pre_fault_page(struct kvm_vcpu *vcpu, const struct kvm_memory_slot *slot,
			   gpa_t gpa)
{
	struct kvm *kvm = vcpu->kvm;
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

	r = pre_fault_check_mte(kvm, hva, pfn);
	if (r)
		goto out_release;

	/*
	 * Who enables dirty logging installs a new memslot and waits for SRCU
	 * readers of the old one, before dealing with what was mapped through
	 * that.
	 */
	writable = writable && slot_writable(slot);

	write_lock(&kvm->mmu_lock);
	if (mmu_invalidate_retry(kvm, mmu_seq))
		r = 0;
	else
		r = pre_fault_map(vcpu, slot, gpa, hva, pfn, writable);
	write_unlock(&kvm->mmu_lock);

	/* The host's mapping has gone since; not what user space means by it. */
	if (r == -EAGAIN)
		r = 0;

out_release:
	kvm_release_pfn_clean(pfn);
	return r;
}

/**
 * kvm_arch_vcpu_pre_fault_memory - map the start of a range in stage-2
 * @vcpu: a vCPU of the VM whose stage-2 is filled
 * @gpa: start of the range, in bytes, page-aligned
 * @size: size of the range, in bytes, page-aligned and not zero
 *
 * Context: vcpu->mutex held, inside an SRCU read section of kvm->srcu, no MMU lock
 * held. May sleep. Takes mmap_lock for read, and within it the host's page table
 * lock and mmu_lock for write.
 *
 * Return:
 * * > 0		- that many bytes from @gpa on are mapped, @size at most
 * * 0			- lost a race, to be called again
 * * -EAGAIN		- the memslot at @gpa is being deleted or moved
 * * -EFAULT		- the host memory behind @gpa can't be read, or is shared
 *			  and the VM has MTE
 * * -EHWPOISON		- the host page behind @gpa is poisoned
 * * -EINTR		- a signal came while waiting for the host page
 * * -ENOENT		- there is no memslot at @gpa
 * * -ENOEXEC		- the vCPU was not initialised by KVM_ARM_VCPU_INIT
 * * -ENOMEM		- no memory for the host page or for page tables
 * * -EOPNOTSUPP	- KVM is in protected mode
 */
long kvm_arch_vcpu_pre_fault_memory(struct kvm_vcpu *vcpu, gpa_t gpa, u64 size)
{
	struct kvm_memory_slot *slot;
	struct kvm *kvm = vcpu->kvm;
	long r;

	if (is_protected_kvm_enabled())
		return -EOPNOTSUPP;

	if (vcpu->arch.target < 0)
		return -ENOEXEC;

	/* Whatever memslot there is, stage-2 reaches. */
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
				       kvm_mmu_cache_min_pages(kvm));
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
