/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SELFTEST_KVM_PRE_FAULT_STRESS_MMIO_H
#define SELFTEST_KVM_PRE_FAULT_STRESS_MMIO_H

/* For architectures whose guest stops with a write to PF_MMIO_GPA */
#include "stress.h"

/* Also for a vCPU that can't be read: report what there is. */
static inline uint64_t core_reg(struct kvm_vcpu *vcpu, uint64_t id)
{
	uint64_t value = 0;
	struct kvm_one_reg reg = { .id = id, .addr = (uint64_t)&value };

	__vcpu_ioctl(vcpu, KVM_GET_ONE_REG, &reg);
	return value;
}

static inline bool stopped_at_mmio(struct kvm_vcpu *vcpu)
{
	return vcpu->run->exit_reason == KVM_EXIT_MMIO &&
	       vcpu->run->mmio.phys_addr == PF_MMIO_GPA;
}

#endif /* SELFTEST_KVM_PRE_FAULT_STRESS_MMIO_H */
