// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY for arm64: map a page in the VM's own stage-2 as a guest
 * read would, without a guest.  Unlike a guest's fault, a pre-fault never touches
 * a PTE that is valid, and never puts a block in the place of a table.
 *
 * virt/kvm/pre_fault_host.c has the host page table copied where it can be, up to
 * a table at a time, and tells why that is safe.  The rest is mapped one page at a
 * time.  Either way mmu_lock is held for write.
 */
#include <linux/cpufeature.h>
#include <linux/kvm_host.h>
#include <linux/kvm_pre_fault.h>
#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/sched/signal.h>

#include <asm/barrier.h>
#include <asm/kvm_mmu.h>
#include <asm/kvm_pgtable.h>
#include <asm/virt.h>

/* PTEs without an address, read-only and writable; 0 if not made yet */
struct pre_fault_templates {
	kvm_pte_t pte[2];
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

static pte_t host_pte(const struct kvm_pre_fault_span *span, unsigned int i)
{
	return __pte(kvm_host_pte(span->ptep, span->huge, i));
}

/* With dirty logging, the guest's first write has to be noticed. */
static bool slot_writable(const struct kvm_memory_slot *slot)
{
	return !(slot->flags & KVM_MEM_READONLY) && !memslot_is_logging(slot);
}

/* Tell the host of the guest's writes now, unless its PTE is dirty anyway. */
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
 * Fill the gaps of a table, from the PTE of the span's first page on.  Returns how
 * many pages are mapped, from the first one on.
 */
static unsigned int fill_span(const struct kvm_pre_fault_batch *b, gpa_t gpa,
			      const struct kvm_pre_fault_span *span,
			      kvm_pte_t *ptep, struct pre_fault_templates *t)
{
	const bool slot_w = slot_writable(b->slot);
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
		 * valid.  The page is executable only where that takes no
		 * maintenance of the instruction cache.
		 */
		__clean_dcache_guest_page(__va(__pte_to_phys(pte)), PAGE_SIZE);
		/* The guest must not read what was there before. */
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
	return kvm_mmu_topup_memory_cache(&vcpu->arch.mmu_page_cache,
					  kvm_mmu_cache_min_pages(vcpu->kvm));
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

	if (find_leaf(pgt, gpa, &leaf))
		return 0;

	if (leaf.level < KVM_PGTABLE_MAX_LEVELS - 1) {
		if (kvm_pte_valid(*leaf.ptep)) {
			rest = rest_of(kvm_granule_size(leaf.level), gpa);
			return min_t(u64, b->npages, rest >> PAGE_SHIFT);
		}

		/* Leave a block to the one-page path. */
		if (!span->ptep && !memslot_is_logging(b->slot) &&
		    fault_supports_stage2_huge_mapping(b->slot, b->hva, PMD_SIZE))
			return 0;

		/* Mapping the first page makes the table. */
		pte = host_pte(span, 0);
		if (map_first(b->vcpu, gpa, pte,
			      slot_writable(b->slot) && pte_write(pte), &t) ||
		    find_leaf(pgt, gpa, &leaf))
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
	 * Enabling dirty logging installs a new memslot and waits for SRCU readers
	 * of the old one, before write-protecting what they mapped.
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

/*
 * Map what is at @gpa.  Returns the number of bytes that are mapped, 0 if another
 * task has changed the host's or the VM's page tables meanwhile, or -errno.
 */
static long pre_fault_step(struct kvm_vcpu *vcpu, gpa_t gpa, u64 size)
{
	struct kvm *kvm = vcpu->kvm;
	struct kvm_memory_slot *slot;
	long r;

	/* Stage-2 reaches all memslots. */
	slot = gfn_to_memslot(kvm, gpa_to_gfn(gpa));
	if (!slot)
		return -ENOENT;

	/*
	 * Deleting or moving the memslot waits for this SRCU reader.  Waiting for
	 * that in turn would be a deadlock.
	 */
	if (slot->flags & KVM_MEMSLOT_INVALID)
		return -EAGAIN;

	/* With MTE the tags of each page have to be looked at. */
	if (!kvm_has_mte(kvm)) {
		r = kvm_pre_fault_batches(vcpu, slot, gpa_to_gfn(gpa),
					  size >> PAGE_SHIFT);
		if (r)
			return r < 0 ? r : r << PAGE_SHIFT;
	}

	/* Nothing can be allocated under mmu_lock. */
	r = kvm_arch_pre_fault_topup(vcpu);
	if (r)
		return r;

	r = pre_fault_page(vcpu, slot, gpa);
	if (r <= 0)
		return r;

	return min(rest_of(r, gpa), size);
}

/*
 * Map the start of @range in the VM's stage-2.  Called with vcpu->mutex held,
 * inside an SRCU read section of kvm->srcu, with no MMU lock held.
 *
 * Returns the number of bytes that are mapped, or -errno: -EAGAIN if the memslot is
 * being deleted or moved, -EFAULT if the host memory can't be read, or is shared
 * and the VM has MTE, -EHWPOISON, -EINTR, -ENOENT without a memslot, -ENOEXEC before
 * KVM_ARM_VCPU_INIT, -ENOMEM, -EOPNOTSUPP in protected mode.
 */
long kvm_arch_vcpu_pre_fault_memory(struct kvm_vcpu *vcpu,
				    struct kvm_pre_fault_memory *range)
{
	long r;

	if (is_protected_kvm_enabled())
		return -EOPNOTSUPP;

	if (vcpu->arch.target < 0)
		return -ENOEXEC;

	for (;;) {
		r = pre_fault_step(vcpu, range->gpa, range->size);
		if (r)
			return r;

		if (signal_pending(current))
			return -EINTR;
		cond_resched();
	}
}
