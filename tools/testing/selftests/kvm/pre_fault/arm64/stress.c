// SPDX-License-Identifier: GPL-2.0-only
/*
 * The arm64 parts of the stress test.
 */
#define _GNU_SOURCE
#include "../stress/mmio.h"

/* Report an unexpected exception of the guest. */
static void guest_exception(struct ex_regs *regs)
{
	ucall(UCALL_UNHANDLED, 4, ESR_ELx_EC(read_sysreg(esr_el1)),
	      read_sysreg(esr_el1), regs->pc, read_sysreg(far_el1));
}

void vm_arch_make(struct kvm_vm *vm)
{
	unsigned int i;

	vm_init_descriptor_tables(vm);
	virt_map(vm, PF_MMIO_GPA, PF_MMIO_GPA, 1);
	for (i = 0; i <= ESR_ELx_EC_MAX; i++)
		vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, i,
					guest_exception);
}

void vcpu_arch_make(struct kvm_vcpu *vcpu)
{
	vcpu_init_descriptor_tables(vcpu);
}

void guest_stop(void)
{
	asm volatile("str xzr, [%0]" : : "r" (PF_MMIO_GPA) : "memory");
}

bool vcpu_stopped(struct kvm_vcpu *vcpu, uint64_t *pc)
{
	*pc = core_reg(vcpu, ARM64_CORE_REG(regs.pc));
	return stopped_at_mmio(vcpu);
}

void print_vcpu(struct kvm_vcpu *vcpu)
{
	unsigned int i;

	ksft_print_msg("pc %#lx sp %#lx pstate %#lx\n",
		       core_reg(vcpu, ARM64_CORE_REG(regs.pc)),
		       core_reg(vcpu, ARM64_CORE_REG(sp_el1)),
		       core_reg(vcpu, ARM64_CORE_REG(regs.pstate)));
	ksft_print_msg("elr %#lx spsr %#lx\n",
		       core_reg(vcpu, ARM64_CORE_REG(elr_el1)),
		       core_reg(vcpu, ARM64_CORE_REG(spsr[0])));
	for (i = 0; i < 31; i++)
		ksft_print_msg("x%u %#lx\n", i,
			       core_reg(vcpu, ARM64_CORE_REG(regs.regs[i])));
}
