// SPDX-License-Identifier: GPL-2.0-only
/*
 * Defaults for what ARCH/arch.c provides.
 */
#define _GNU_SOURCE
#include "../pre_fault.h"

__weak bool pf_shadow_paging(void)
{
	return false;
}

__weak bool pf_has_accessed_bit(void)
{
	return true;
}

__weak void pf_arch_init(void)
{
}

__weak bool pf_arch_fault_event(struct perf_event_attr *attr)
{
	return false;
}
