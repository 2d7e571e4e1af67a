/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __RISCV_KVM_PRE_FAULT_INTERNAL_H__
#define __RISCV_KVM_PRE_FAULT_INTERNAL_H__

/* Shared by the one-page path and the installer of KVM_PRE_FAULT_MEMORY */
#include <linux/kvm_host.h>
#include <linux/string.h>

#include <asm/kvm_gstage.h>
#include <asm/kvm_mmu.h>

/* The size that an entry of a level maps */
static inline u64 pre_fault_level_size(u32 level)
{
	return PAGE_SIZE << (level * kvm_riscv_gstage_index_bits);
}

static inline u64 pre_fault_rest_of(u64 size, gpa_t gpa)
{
	return size - (gpa & (size - 1));
}

/*
 * The leaf of a guest page fault.  The A and D bits are set, as not every CPU sets them
 * by itself.  A read-only leaf stays read-only until the guest's first write has looked
 * at the host's page again.
 */
static inline pte_t pre_fault_leaf(kvm_pfn_t pfn, bool writable)
{
	const pgprot_t prot = writable ?
			      __pgprot(pgprot_val(PAGE_WRITE_EXEC) |
				       KVM_GSTAGE_PTE_HOST_WRITABLE) :
			      PAGE_READ_EXEC;

	return pte_mkdirty(pfn_pte(pfn, prot));
}

/* Return true if KVM has to see the guest's first write to each page. */
static inline bool pre_fault_is_logging(const struct kvm_memory_slot *slot)
{
	return kvm_slot_dirty_track_enabled(slot) &&
	       !(slot->flags & KVM_MEM_READONLY);
}

/* With dirty logging, the guest's first write has to fault. */
static inline bool pre_fault_slot_writable(const struct kvm_memory_slot *slot)
{
	return !(slot->flags & KVM_MEM_READONLY) && !pre_fault_is_logging(slot);
}

/* Return true if no PTE of the table with @ptep is in use: unmapping frees no table. */
static inline bool pre_fault_table_is_empty(const pte_t *ptep)
{
	return !memchr_inv(PTR_ALIGN_DOWN(ptep, PAGE_SIZE), 0, PAGE_SIZE);
}

/* Allocate page tables before mmu_lock is taken.  Returns 0 or -ENOMEM. */
static inline int pre_fault_topup(struct kvm_vcpu *vcpu)
{
	return kvm_mmu_topup_memory_cache(&vcpu->arch.mmu_page_cache,
					  vcpu->kvm->arch.pgd_levels);
}

#endif /* __RISCV_KVM_PRE_FAULT_INTERNAL_H__ */
