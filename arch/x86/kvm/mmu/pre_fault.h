/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVM_X86_MMU_PRE_FAULT_H
#define __KVM_X86_MMU_PRE_FAULT_H

#include <linux/kvm_host.h>

struct tdp_iter;

bool kvm_tdp_mmu_pre_fault_pt_in_use(u64 spte);
bool kvm_tdp_mmu_pre_fault_link(struct kvm_vcpu *vcpu, struct tdp_iter *iter);
long kvm_tdp_mmu_pre_fault(struct kvm_vcpu *vcpu, gpa_t gpa, u64 size);

#endif /* __KVM_X86_MMU_PRE_FAULT_H */
