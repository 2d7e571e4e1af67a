// SPDX-License-Identifier: GPL-2.0-only
/*
 * The exits of an x86 guest to measure.
 */
#include "../pre_fault.h"

#define IO_PORT		0x80

static void guest_cpuid(void)
{
	uint32_t a, b, c, d;

	cpuid(0, &a, &b, &c, &d);
}

static void guest_msr(void)
{
	rdmsr(MSR_IA32_APICBASE);
}

static void guest_io(void)
{
	asm volatile("outb %%al, %0" : : "N" (IO_PORT), "a" (0));
}

static void guest_mmio(void)
{
	WRITE_ONCE(*(uint64_t *)PF_MMIO_GPA, 0);
}

const struct pf_exit pf_exits[] = {
	{ "cpuid", guest_cpuid },
	{ "msr", guest_msr },
	{ "io", guest_io, KVM_EXIT_IO },
	{ "mmio", guest_mmio, KVM_EXIT_MMIO },
	{ }
};
