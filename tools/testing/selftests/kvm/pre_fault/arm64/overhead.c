// SPDX-License-Identifier: GPL-2.0-only
/*
 * The exits of an arm64 guest to measure.
 */
#include <linux/psci.h>

#include "../pre_fault.h"

static void guest_hypercall(void)
{
	struct arm_smccc_res res;

	smccc_hvc(PSCI_0_2_FN_PSCI_VERSION, 0, 0, 0, 0, 0, 0, 0, &res);
}

static void guest_sysreg(void)
{
	read_sysreg(id_aa64mmfr0_el1);
}

static void guest_mmio(void)
{
	WRITE_ONCE(*(uint64_t *)PF_MMIO_GPA, 0);
}

const struct pf_exit pf_exits[] = {
	{ "hypercall", guest_hypercall },
	{ "sysreg", guest_sysreg },
	{ "mmio", guest_mmio, KVM_EXIT_MMIO },
	{ }
};
