// SPDX-License-Identifier: GPL-2.0-only
/*
 * The exits of a RISC-V guest to measure.
 */
#include "../pre_fault.h"
#include "sbi.h"

static void guest_hypercall(void)
{
	sbi_ecall(SBI_EXT_BASE, SBI_EXT_BASE_GET_SPEC_VERSION, 0, 0, 0, 0, 0, 0);
}

static void guest_mmio(void)
{
	WRITE_ONCE(*(uint64_t *)PF_MMIO_GPA, 0);
}

const struct pf_exit pf_exits[] = {
	{ "hypercall", guest_hypercall },
	{ "mmio", guest_mmio, KVM_EXIT_MMIO },
	{ }
};
