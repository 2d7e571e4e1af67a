// SPDX-License-Identifier: GPL-2.0-only
/*
 * The RISC-V parts of the stress test.
 */
#define _GNU_SOURCE
#include "../stress/mmio.h"

/* Report an unexpected exception of the guest. */
static void guest_exception(struct pt_regs *regs)
{
	ucall(UCALL_UNHANDLED, 3, regs->cause, regs->epc, regs->badaddr);
}

void vm_arch_make(struct kvm_vm *vm)
{
	unsigned int i;

	vm_init_vector_tables(vm);
	virt_map(vm, PF_MMIO_GPA, PF_MMIO_GPA, 1);
	for (i = 0; i < NR_EXCEPTIONS; i++)
		vm_install_exception_handler(vm, i, guest_exception);
}

void vcpu_arch_make(struct kvm_vcpu *vcpu)
{
	vcpu_init_vector_tables(vcpu);
}

void guest_stop(void)
{
	asm volatile("sw zero, 0(%0)" : : "r" (PF_MMIO_GPA) : "memory");
}

/* A slot can't be written to if mprotect() has made a part of its VMA read-only. */
bool arch_refuses_slot(int err)
{
	return err == EPERM;
}

bool vcpu_stopped(struct kvm_vcpu *vcpu, uint64_t *pc)
{
	*pc = core_reg(vcpu, RISCV_CORE_REG(regs.pc));
	return stopped_at_mmio(vcpu);
}

void print_vcpu(struct kvm_vcpu *vcpu)
{
	const uint64_t pc = RISCV_CORE_REG(regs.pc);
	unsigned int i;

	ksft_print_msg("pc %#lx mode %#lx\n", core_reg(vcpu, pc),
		       core_reg(vcpu, RISCV_CORE_REG(mode)));
	for (i = 1; i < 32; i++)
		ksft_print_msg("x%u %#lx\n", i, core_reg(vcpu, pc + i));
}
