// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY for x86: choose how to map the start of a range.
 *
 * For memory that the TDP MMU maps, virt/kvm/pre_fault_host.c reads the host page
 * table, and pre_fault_install.c installs SPTEs.  All other memory is mapped by the
 * caller of kvm_mmu_pre_fault(), one mapping at a time.
 */
#include <linux/kvm_host.h>
#include <linux/kvm_pre_fault.h>

#include "mmu.h"
#include "mmu_internal.h"
#include "pre_fault.h"
#include "pre_fault_base.h"
#include "pre_fault_tdp.h"
#include "spte.h"
#include "tdp_iter.h"
#include "tdp_mmu.h"

/*
 * Return the number of pages from @gfn on, at most @npages, that one leaf SPTE
 * maps already; 0 if none does.
 */
static u64 nr_mapped(struct kvm_vcpu *vcpu, gfn_t gfn, u64 npages)
{
	struct kvm_mmu_page *root = root_to_sp(vcpu->arch.mmu->root.hpa);
	struct tdp_iter iter;
	u64 nr = 0;

	rcu_read_lock();
	pre_fault_for_each_spte(iter, vcpu->kvm, root, PG_LEVEL_4K, gfn, gfn + 1) {
		if (is_shadow_present_pte(iter.old_spte) &&
		    is_last_spte(iter.old_spte, iter.level)) {
			nr = KVM_PAGES_PER_HPAGE(iter.level) - (gfn - iter.gfn);
			break;
		}
	}
	rcu_read_unlock();

	return min(nr, npages);
}

/*
 * Map the start of a range in a batch, or find that it is mapped.  The vCPU has a
 * root.  Called inside an SRCU read section of kvm->srcu.
 *
 * Returns the number of bytes that are mapped from @gpa on, at most 1G; 0 if the
 * page at @gpa is left to the one-page path, as without the TDP MMU; -ENOENT without
 * a memslot; -EOPNOTSUPP if the page tables do not reach @gpa; -EINTR; -ENOMEM.
 */
int kvm_mmu_pre_fault(struct kvm_vcpu *vcpu, gpa_t gpa, u64 size)
{
	const u64 reach = 1ULL << SPTE_LEVEL_SHIFT(vcpu->arch.mmu->root_role.level + 1);
	const gfn_t gfn = gpa_to_gfn(gpa);
	struct kvm_memory_slot *slot;
	u64 npages;
	long r;

	/* Shadow page tables are not indexed by gpa: the fault path rejects them. */
	if (!tdp_enabled || !vcpu->arch.mmu->root_role.direct)
		return 0;

	slot = kvm_vcpu_gfn_to_memslot(vcpu, gfn);

	/* Beyond the root's reach the page table walk would wrap around. */
	if (gpa >= reach)
		return slot ? -EOPNOTSUPP : -ENOENT;

	if (pre_fault_is_special(vcpu->kvm, slot))
		return 0;

	/* The fault path would install an MMIO SPTE. */
	if (!slot)
		return -ENOENT;

	if (slot->flags & KVM_MEMSLOT_INVALID || !pre_fault_has_tdp_root(vcpu))
		return 0;

	npages = min(size, reach - gpa) >> PAGE_SHIFT;
	r = kvm_pre_fault_host(vcpu, slot, gfn, npages);
	if (!r)
		r = nr_mapped(vcpu, gfn, npages);

	return r < 0 ? r : r << PAGE_SHIFT;
}
