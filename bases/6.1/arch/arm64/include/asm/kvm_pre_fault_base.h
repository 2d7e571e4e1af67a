/* SPDX-License-Identifier: GPL-2.0-only */
/* Page tables are freed at once, without RCU: only the CPUs may walk stage-2 meanwhile. */
#define kvm_pre_fault_lock(kvm)		write_lock(&(kvm)->mmu_lock)
#define kvm_pre_fault_unlock(kvm)	write_unlock(&(kvm)->mmu_lock)
