// SPDX-License-Identifier: GPL-2.0-only
/* The guest on RISC-V: in VS-mode, with vsatp 0. */
#include <err.h>
#include <stddef.h>
#include <sys/ioctl.h>

#include "pre_fault.h"

#define CORE_REG(name)	(KVM_REG_RISCV | KVM_REG_SIZE_U64 | KVM_REG_RISCV_CORE | \
			 KVM_REG_RISCV_CORE_REG(name))

/*
 * Stop once before the loop, so that the cost of the first KVM_RUN and of the code
 * page is not taken for a cost of the memory.  In: a1 address, a2 pages, a3 where a
 * write stops the guest, a0 0; out: the low half of a0 is the checksum.
 */
static const uint32_t guest_code[] = {
	0x00001737,	/*	lui    a4, 1		  */
	0x0006a023,	/*	sw     zero, 0(a3)	  */
	0x0005a283,	/* 1:	lw     t0, 0(a1)	  */
	0x0055131b,	/*	slliw  t1, a0, 5	  */
	0x01b5551b,	/*	srliw  a0, a0, 27	  */
	0x00656533,	/*	or     a0, a0, t1	  */
	0x0055053b,	/*	addw   a0, a0, t0	  */
	0x00e585b3,	/*	add    a1, a1, a4	  */
	0xfff60613,	/*	addi   a2, a2, -1	  */
	0xfe0612e3,	/*	bnez   a2, 1b		  */
	0x0006a023,	/*	sw     zero, 0(a3)	  */
};

/* KVM has no statistic of faults on RISC-V. */
const struct arch arch = {
	.code = guest_code,
	.code_size = sizeof(guest_code),
	.faults = "exits",
	.unit = "exits",
	.heading = "exits to KVM",
	.counts_stop = true,
};

const struct guest_regs guest_regs = {
	.pc = CORE_REG(regs.pc),
	.sum = CORE_REG(regs.a0),
	.next = CORE_REG(regs.a1),
	.left = CORE_REG(regs.a2),
	.stop = CORE_REG(regs.a3),
};

/* All vCPUs but the first are created stopped. */
int arch_vcpu_power_on(const struct vm *vm, const struct vcpu *vcpu)
{
	struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_RUNNABLE };

	(void)vm;
	if (ioctl(vcpu->fd, KVM_SET_MP_STATE, &state)) {
		warn("KVM_SET_MP_STATE");
		return -1;
	}
	return 0;
}
