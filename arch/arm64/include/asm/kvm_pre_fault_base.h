/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __ARM64_KVM_PRE_FAULT_BASE_H__
#define __ARM64_KVM_PRE_FAULT_BASE_H__

/*
 * As in a guest page fault, other vCPUs may change stage-2 meanwhile: write PTEs by
 * cmpxchg only, and read page tables inside an RCU read section, as they are freed
 * after a grace period.  Protected mode, which needs mmu_lock for write, has no
 * pre-faults.
 */
#define kvm_pre_fault_lock(kvm)		read_lock(&(kvm)->mmu_lock)
#define kvm_pre_fault_unlock(kvm)	read_unlock(&(kvm)->mmu_lock)

#endif /* __ARM64_KVM_PRE_FAULT_BASE_H__ */
