// SPDX-License-Identifier: GPL-2.0-only
/* The guest on x86: 32-bit, in protected mode. */
#include <err.h>
#include <sys/ioctl.h>

#include "pre_fault.h"

/* The usual addresses of KVM's pages for Intel CPUs without unrestricted guest */
#define IDENTITY_MAP	0xfffbc000ULL
#define TSS_ADDR	0xfffbd000UL

#define CR0_PE_ET_NE	0x31
#define RFLAGS_FIXED	0x2

/*
 * Stop once before the loop, so that the cost of the first KVM_RUN and of the code
 * page is not taken for a cost of the memory.  In: %esi address, %ecx
 * pages, %eax 0; out: %eax checksum.
 */
static const uint8_t guest_code[] = {
	0xf4,					/*	hlt		     */
	0xc1, 0xc0, 0x05,			/* 1:	rol  $5, %eax	     */
	0x03, 0x06,				/*	add  (%esi), %eax    */
	0x81, 0xc6, 0x00, 0x10, 0x00, 0x00,	/*	add  $0x1000, %esi   */
	0x49,					/*	dec  %ecx	     */
	0x75, 0xf2,				/*	jnz  1b		     */
	0xf4,					/*	hlt		     */
};

const struct arch arch = {
	.code = guest_code,
	.code_size = sizeof(guest_code),
	.faults = "pf_taken",
	.fast_faults = "pf_fast",
	.unit = "faults",
	.heading = "stage-2 faults",
	.counts_pages = true,
};

int arch_vm_init(const struct vm *vm)
{
	uint64_t identity_map = IDENTITY_MAP;

	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) ||
	    ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDR)) {
		warn("cannot place KVM's own pages in the guest");
		return -1;
	}
	return 0;
}

int arch_vcpu_init(const struct vm *vm, const struct vcpu *vcpu)
{
	struct kvm_segment code = {
		.limit = 0xffffffff, .selector = 0x8, .type = 11,
		.present = 1, .db = 1, .s = 1, .g = 1,
	};
	struct kvm_segment data = code;
	struct kvm_regs regs = {
		.rip = CODE_GPA,
		.rflags = RFLAGS_FIXED,
		.rsi = vcpu->gpa,
		.rcx = vcpu->size / SZ_4K,
	};
	struct kvm_sregs sregs;

	(void)vm;
	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs)) {
		warn("KVM_GET_SREGS");
		return -1;
	}

	data.selector = 0x10;
	data.type = 3;
	sregs.cs = code;
	sregs.ds = data;
	sregs.es = data;
	sregs.fs = data;
	sregs.gs = data;
	sregs.ss = data;
	sregs.cr0 = CR0_PE_ET_NE;

	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs)) {
		warn("KVM_SET_SREGS");
		return -1;
	}
	if (ioctl(vcpu->fd, KVM_SET_REGS, &regs)) {
		warn("KVM_SET_REGS");
		return -1;
	}
	return 0;
}

bool arch_stopped(const struct kvm_run *run)
{
	return run->exit_reason == KVM_EXIT_HLT;
}

int arch_vcpu_state(const struct vcpu *vcpu, struct guest_state *state)
{
	struct kvm_regs regs;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs)) {
		warn("KVM_GET_REGS");
		return -1;
	}
	state->next = regs.rsi;
	state->left = regs.rcx;
	state->sum = regs.rax;
	return 0;
}
