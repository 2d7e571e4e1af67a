// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest on architectures with KVM_SET_ONE_REG, where a VM needs only memory. The
 * guest stops with a write to an address without memory.
 */
#include <err.h>
#include <sys/ioctl.h>

#include "pre_fault.h"

static int set_reg(const struct vcpu *vcpu, uint64_t id, uint64_t value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)&value };

	if (ioctl(vcpu->fd, KVM_SET_ONE_REG, &reg)) {
		warn("KVM_SET_ONE_REG %#llx", (unsigned long long)id);
		return -1;
	}
	return 0;
}

static int get_reg(const struct vcpu *vcpu, uint64_t id, uint64_t *value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)value };

	if (ioctl(vcpu->fd, KVM_GET_ONE_REG, &reg)) {
		warn("KVM_GET_ONE_REG %#llx", (unsigned long long)id);
		return -1;
	}
	return 0;
}

int arch_vm_init(const struct vm *vm)
{
	(void)vm;
	return 0;
}

int arch_vcpu_init(const struct vm *vm, const struct vcpu *vcpu)
{
	if (arch_vcpu_power_on(vm, vcpu) ||
	    set_reg(vcpu, guest_regs.pc, CODE_GPA) ||
	    set_reg(vcpu, guest_regs.sum, 0) ||
	    set_reg(vcpu, guest_regs.next, vcpu->gpa) ||
	    set_reg(vcpu, guest_regs.left, vcpu->size / SZ_4K) ||
	    set_reg(vcpu, guest_regs.stop, STOP_GPA))
		return -1;
	return 0;
}

bool arch_stopped(const struct kvm_run *run)
{
	return run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write &&
	       run->mmio.phys_addr == STOP_GPA;
}

int arch_vcpu_state(const struct vcpu *vcpu, struct guest_state *state)
{
	uint64_t sum;

	if (get_reg(vcpu, guest_regs.next, &state->next) ||
	    get_reg(vcpu, guest_regs.left, &state->left) ||
	    get_reg(vcpu, guest_regs.sum, &sum))
		return -1;
	state->sum = sum;
	return 0;
}
