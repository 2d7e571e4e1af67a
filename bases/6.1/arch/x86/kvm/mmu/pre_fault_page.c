// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY for x86: map a gfn as a guest read would, without a
 * guest.  Unlike a guest page fault, a pre-fault does not modify existing leaf
 * SPTEs, does not emulate, and installs no MMIO SPTE.
 */
#include <linux/kvm_host.h>

#include <asm/vmx.h>

#include "mmu.h"
#include "mmu_internal.h"
#include "mmutrace.h"
#include "pre_fault.h"
#include "pre_fault_tdp.h"
#include "spte.h"
#include "tdp_iter.h"
#include "tdp_mmu.h"

/*
 * Get the host page for fault->gfn, and hold a reference to it.  The result is
 * final only if kvm_mmu_is_fault_stale() returns false under mmu_lock.
 */
static int pre_fault_get_pfn(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault)
{
	int r;

	fault->mmu_seq = READ_ONCE(vcpu->kvm->mmu_invalidate_seq);
	/* Before the host's page tables are read, see mmu_invalidate_retry(). */
	smp_rmb();

	/* Without APICv, a guest's access to this page is emulated. */
	if (fault->slot->id == APIC_ACCESS_PAGE_PRIVATE_MEMSLOT &&
	    !kvm_apicv_activated(vcpu->kvm))
		return -ENOENT;

	r = kvm_pre_fault_pfn(vcpu->kvm, fault->slot, fault->gfn, &fault->pfn,
			      &fault->map_writable, &fault->hva);
	if (r)
		return r;

	/*
	 * A writable SPTE would have to be logged as dirty.  Enabling dirty
	 * logging installs a new memslot and waits for SRCU readers of the old
	 * one, before write-protecting the SPTEs that they installed.
	 */
	if (kvm_slot_dirty_track_enabled(fault->slot))
		fault->map_writable = false;

	return 0;
}

/*
 * kvm_tdp_mmu_map() for pre-faults.  Install leaf SPTEs by cmpxchg against the
 * non-present value read here, so that the SPTE of a guest page fault that another
 * vCPU takes meanwhile is not modified.
 */
static int tdp_mmu_pre_fault(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault)
{
	struct kvm_mmu_page *root = to_shadow_page(vcpu->arch.mmu->root.hpa);
	struct tdp_iter iter;
	int ret = RET_PF_RETRY;

	lockdep_assert_held_read(&vcpu->kvm->mmu_lock);

	kvm_mmu_hugepage_adjust(vcpu, fault);

	trace_kvm_mmu_spte_requested(fault);

	rcu_read_lock();

	for_each_tdp_pte(iter, root, fault->gfn, fault->gfn + 1) {
		if (is_removed_spte(iter.old_spte))
			break;

		if (is_shadow_present_pte(iter.old_spte)) {
			if (is_last_spte(iter.old_spte, iter.level)) {
				fault->goal_level = iter.level;
				ret = RET_PF_SPURIOUS;
				break;
			}

			/*
			 * Replace a page table by a huge page only if the page
			 * table maps nothing.  Losing a mapping that another
			 * vCPU adds from now on is harmless: the next guest
			 * page fault would replace the page table as well.
			 */
			if (iter.level == fault->goal_level &&
			    (fault->nx_huge_page_workaround_enabled ||
			     pre_fault_pt_in_use(iter.old_spte)))
				disallowed_hugepage_adjust(fault, iter.old_spte,
							   iter.level);
		}

		if (iter.level == fault->goal_level) {
			ret = tdp_mmu_map_handle_target_level(vcpu, fault, &iter);
			break;
		}

		if (is_shadow_present_pte(iter.old_spte))
			continue;

		if (!pre_fault_link_pt(vcpu, &iter))
			break;
	}

	rcu_read_unlock();

	return ret;
}

/*
 * The same for the legacy MMU.  mmu_lock is held for write, and
 * kvm_mmu_direct_map() checks for an existing mapping.
 */
static int direct_mmu_pre_fault(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault)
{
	u64 sptes[PT64_ROOT_MAX_LEVEL + 1];
	int root_level, level;

	lockdep_assert_held_write(&vcpu->kvm->mmu_lock);

	level = kvm_mmu_get_walk(vcpu, fault->addr, sptes, &root_level);
	if (WARN_ON_ONCE(level < PG_LEVEL_4K))
		return -EIO;

	/* As above: do not replace a page table in use by a huge page. */
	while (++level <= fault->max_level) {
		if (pre_fault_pt_in_use(sptes[level])) {
			fault->max_level = level - 1;
			break;
		}
	}

	return kvm_mmu_direct_map(vcpu, fault);
}

/*
 * Map fault->gfn.  Returns RET_PF_FIXED or RET_PF_SPURIOUS with the level of
 * the mapping in fault->goal_level, RET_PF_RETRY, or -errno.
 */
static int pre_fault_page(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault)
{
	struct kvm *kvm = vcpu->kvm;
	struct page *page;
	kvm_pfn_t pfn;
	int r;

	/* Nothing can be allocated under mmu_lock. */
	r = mmu_topup_memory_caches(vcpu, false);
	if (r)
		return r;

	r = pre_fault_get_pfn(vcpu, fault);
	if (r)
		return r;

	/* A huge mapping moves fault->pfn to the head page. */
	pfn = fault->pfn;

	if (pre_fault_has_tdp_root(vcpu)) {
		read_lock(&kvm->mmu_lock);
		if (kvm_mmu_is_fault_stale(vcpu, fault))
			r = RET_PF_RETRY;
		else
			r = tdp_mmu_pre_fault(vcpu, fault);
		read_unlock(&kvm->mmu_lock);
	} else {
		write_lock(&kvm->mmu_lock);
		r = kvm_mmu_make_pages_available(vcpu);
		if (!r) {
			/* Making pages available may have zapped the root. */
			if (kvm_mmu_is_fault_stale(vcpu, fault))
				r = RET_PF_RETRY;
			else
				r = direct_mmu_pre_fault(vcpu, fault);
		}
		write_unlock(&kvm->mmu_lock);
	}

	/* Unlike kvm_release_pfn_clean(), don't mark the page accessed. */
	page = kvm_pfn_to_refcounted_page(pfn);
	if (page)
		put_page(page);

	return r;
}

static long pre_fault_memory(struct kvm_vcpu *vcpu, gpa_t gpa, u64 size)
{
	struct kvm_page_fault fault = {
		.addr = gpa,
		.gfn = gpa_to_gfn(gpa),
		.prefetch = true,
		.pre_fault = true,
		.is_tdp = true,
		.nx_huge_page_workaround_enabled =
			is_nx_huge_page_enabled(vcpu->kvm),

		.max_level = KVM_MAX_HUGEPAGE_LEVEL,
		.req_level = PG_LEVEL_4K,
		.goal_level = PG_LEVEL_4K,
	};
	u64 mapped, reach;
	long r;

	fault.slot = kvm_vcpu_gfn_to_memslot(vcpu, fault.gfn);
	if (!fault.slot)
		return -ENOENT;

	/*
	 * Deleting or moving the memslot waits for this SRCU reader, so waiting
	 * for the update here would be a deadlock.
	 */
	if (fault.slot->flags & KVM_MEMSLOT_INVALID)
		return -EAGAIN;

	/* Beyond the root's reach the page table walk would wrap around. */
	reach = 1ULL << SPTE_LEVEL_SHIFT(vcpu->arch.mmu->root_role.level + 1);
	if (gpa >= reach)
		return -EOPNOTSUPP;
	size = min(size, reach - gpa);

	/* Get a new root if this one is obsolete, or retries never end. */
	if (kvm_check_request(KVM_REQ_MMU_FREE_OBSOLETE_ROOTS, vcpu))
		kvm_mmu_free_obsolete_roots(vcpu);

	r = kvm_mmu_reload(vcpu);
	if (r)
		return r;

	r = kvm_mmu_pre_fault(vcpu, gpa, size);
	if (r)
		return r;

	kvm_tdp_mtrr_adjust(vcpu, &fault);

	r = pre_fault_page(vcpu, &fault);
	switch (r) {
	case RET_PF_FIXED:
		kvm_mmu_pre_fault_count(vcpu, fault.goal_level, 1);
		break;
	case RET_PF_SPURIOUS:
		break;
	case RET_PF_RETRY:
		return 0;
	default:
		return WARN_ON_ONCE(r >= 0) ? -EIO : r;
	}

	mapped = KVM_HPAGE_SIZE(fault.goal_level);
	mapped -= gpa & (mapped - 1);

	return min(mapped, size);
}

/*
 * Map the start of @range in the vCPU's current MMU root.  The vCPU is loaded.
 * Called inside an SRCU read section of kvm->srcu with no MMU lock held.
 *
 * Returns the number of bytes that are mapped, 0 if another task has changed the
 * host's or the VM's page tables meanwhile, or -errno: -EAGAIN if the memslot is
 * being deleted or moved, -EFAULT if the host memory can't be read, -EHWPOISON,
 * -EINTR, -ENOENT without a memslot, -ENOMEM or -ENOSPC without memory for page
 * tables, -EOPNOTSUPP if the page tables are not indexed by gpa or do not reach it,
 * -EIO if the MMU is in an unknown state.
 */
long kvm_arch_vcpu_pre_fault_memory(struct kvm_vcpu *vcpu,
				    struct kvm_pre_fault_memory *range)
{
	if (!tdp_enabled || is_guest_mode(vcpu))
		return -EOPNOTSUPP;

	return pre_fault_memory(vcpu, range->gpa, range->size);
}
