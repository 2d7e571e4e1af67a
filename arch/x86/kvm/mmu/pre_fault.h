/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVM_X86_MMU_PRE_FAULT_H
#define __KVM_X86_MMU_PRE_FAULT_H

#include <linux/kvm_host.h>

#ifdef CONFIG_HAVE_KVM_PRE_FAULT_BATCH
int kvm_mmu_pre_fault(struct kvm_vcpu *vcpu, gpa_t gpa, u64 size);
#else
static inline int kvm_mmu_pre_fault(struct kvm_vcpu *vcpu, gpa_t gpa, u64 size)
{
	return 0;
}
#endif

/* Count new leaf SPTEs. */
static inline void kvm_mmu_pre_fault_count(struct kvm_vcpu *vcpu, u8 level, u64 nr)
{
	vcpu->stat.pf_fixed += nr;
	vcpu->stat.pf_prefaulted += nr * KVM_PAGES_PER_HPAGE(level);
}

#endif /* __KVM_X86_MMU_PRE_FAULT_H */
