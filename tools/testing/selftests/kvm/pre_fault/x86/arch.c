// SPDX-License-Identifier: GPL-2.0-only
/*
 * The x86 parts of the KVM_PRE_FAULT_MEMORY tests.
 */
#include "../pre_fault.h"

const bool pf_counts_mappings = true;
const enum pf_memory pf_huge = PF_THP;
const uint32_t pf_return_insn = 0xc3;

bool pf_shadow_paging(void)
{
	return !kvm_is_tdp_enabled();
}

bool pf_has_accessed_bit(void)
{
	return !host_cpu_is_intel || get_kvm_intel_param_bool("eptad");
}

/*
 * KVM patches the kernel's code when the first VM or vCPU of a kind is created, and
 * when the last one is destroyed. Keep one of each: patching for every test is slow,
 * and some emulators execute the breakpoint of a patch after its removal.
 */
void pf_arch_init(void)
{
	struct kvm_vm *vm = vm_create_barebones();

	__vm_vcpu_add(vm, 0);
	vm = vm_create_barebones();
	vm_create_irqchip(vm);
	__vm_vcpu_add(vm, 0);
}

bool pf_arch_stat(const char *name, uint64_t *value)
{
	return false;
}

void pf_arch_vcpu_init(struct kvm_vcpu *vcpu)
{
}

void pf_arch_map(struct kvm_vm *vm, uint64_t gpa, uint64_t size)
{
	virt_map_level(vm, gpa, gpa, size, PG_LEVEL_2M);
}
