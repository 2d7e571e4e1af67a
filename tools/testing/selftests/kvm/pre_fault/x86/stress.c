// SPDX-License-Identifier: GPL-2.0-only
/*
 * The x86 parts of the stress test.
 */
#define _GNU_SOURCE
#include "../stress/stress.h"

#define GUEST_PORT	0x5a0

/* Report an unexpected exception of the guest. */
static void guest_exception(struct ex_regs *regs)
{
	uint64_t cr2;

	asm volatile("mov %%cr2, %0" : "=r" (cr2));
	ucall(UCALL_UNHANDLED, 4, regs->vector, regs->error_code, regs->rip,
	      cr2);
}

void vm_arch_make(struct kvm_vm *vm)
{
	unsigned int i;

	for (i = 0; i < 32; i++)
		vm_install_exception_handler(vm, i, guest_exception);
}

void vcpu_arch_make(struct kvm_vcpu *vcpu)
{
	vcpu->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
}

void guest_stop(void)
{
	asm volatile("outb %%al, %%dx"
		     : : "a" (0), "d" (GUEST_PORT) : "memory");
}

bool vcpu_stopped(struct kvm_vcpu *vcpu, uint64_t *pc)
{
	*pc = vcpu->run->s.regs.regs.rip;
	return vcpu->run->exit_reason == KVM_EXIT_IO &&
	       vcpu->run->io.port == GUEST_PORT;
}

static void dump_segment(const char *name, const struct kvm_segment *s)
{
	ksft_print_msg("%s: %#x, base %#llx, limit %#x, type %u, dpl %u, p %u, l %u\n",
		       name, s->selector, s->base, s->limit, s->type, s->dpl,
		       s->present, s->l);
}

void print_vcpu(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_events events;
	struct kvm_sregs s;
	struct kvm_regs r;

	vcpu_regs_get(vcpu, &r);
	vcpu_sregs_get(vcpu, &s);
	vcpu_events_get(vcpu, &events);
	ksft_print_msg("rip %#llx rflags %#llx\n", r.rip, r.rflags);
	ksft_print_msg("rax %#llx rbx %#llx rcx %#llx rdx %#llx\n",
		       r.rax, r.rbx, r.rcx, r.rdx);
	ksft_print_msg("rsi %#llx rdi %#llx rsp %#llx rbp %#llx\n",
		       r.rsi, r.rdi, r.rsp, r.rbp);
	ksft_print_msg("r8 %#llx r9 %#llx r10 %#llx r11 %#llx\n",
		       r.r8, r.r9, r.r10, r.r11);
	ksft_print_msg("r12 %#llx r13 %#llx r14 %#llx r15 %#llx\n",
		       r.r12, r.r13, r.r14, r.r15);
	ksft_print_msg("cr0 %#llx cr2 %#llx cr3 %#llx cr4 %#llx cr8 %#llx efer %#llx\n",
		       s.cr0, s.cr2, s.cr3, s.cr4, s.cr8, s.efer);
	dump_segment("cs", &s.cs);
	dump_segment("ss", &s.ss);
	dump_segment("ds", &s.ds);
	dump_segment("fs", &s.fs);
	dump_segment("gs", &s.gs);
	dump_segment("tr", &s.tr);
	ksft_print_msg("gdt %#llx/%#x, idt %#llx/%#x\n", s.gdt.base,
		       s.gdt.limit, s.idt.base, s.idt.limit);
	ksft_print_msg("exception %u (injected %u, error code %#x), interrupt %u, nmi %u\n",
		       events.exception.nr, events.exception.injected,
		       events.exception.error_code, events.interrupt.injected,
		       events.nmi.injected);
}
