// SPDX-License-Identifier: GPL-2.0-only
/* The guest on arm64: at EL1, with the MMU off. */
#include <err.h>
#include <stddef.h>
#include <sys/ioctl.h>

#include "pre_fault.h"

#define CORE_REG(name)	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | \
			 KVM_REG_ARM_CORE_REG(name))

/*
 * Stop once before the loop, so that the cost of the first KVM_RUN and of the code
 * page is not taken for a cost of the memory.  In: x1 address, x2 pages,
 * x3 where a write stops the guest, x0 0; out: w0 checksum.
 */
static const uint32_t guest_code[] = {
	0xb900007f,	/*	str   wzr, [x3]		  */
	0xb9400024,	/* 1:	ldr   w4, [x1]		  */
	0x13806c00,	/*	ror   w0, w0, #27	  */
	0x0b040000,	/*	add   w0, w0, w4	  */
	0x91400421,	/*	add   x1, x1, #1, lsl #12 */
	0xf1000442,	/*	subs  x2, x2, #1	  */
	0x54ffff61,	/*	b.ne  1b		  */
	0xb900007f,	/*	str   wzr, [x3]		  */
};

/* KVM has no statistic of faults on arm64. */
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
	.sum = CORE_REG(regs.regs[0]),
	.next = CORE_REG(regs.regs[1]),
	.left = CORE_REG(regs.regs[2]),
	.stop = CORE_REG(regs.regs[3]),
};

int arch_vcpu_power_on(const struct vm *vm, const struct vcpu *vcpu)
{
	struct kvm_vcpu_init init;

	if (ioctl(vm->fd, KVM_ARM_PREFERRED_TARGET, &init) ||
	    ioctl(vcpu->fd, KVM_ARM_VCPU_INIT, &init)) {
		warn("KVM_ARM_VCPU_INIT");
		return -1;
	}
	return 0;
}
