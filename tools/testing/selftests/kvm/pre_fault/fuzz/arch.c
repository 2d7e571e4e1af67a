// SPDX-License-Identifier: GPL-2.0-only
/*
 * Defaults for what ARCH/fuzz.c provides.
 */
#define _GNU_SOURCE
#include "fuzz.h"

__weak bool fz_arch_maps_4k(const struct fz_slot *slot)
{
	return fz_is_logging(slot);
}

__weak bool fz_arch_replaces_table(const struct fz_slot *slot, uint64_t page)
{
	return false;
}

__weak int fz_arch_slot_errno(const struct fz_slot *slot)
{
	return 0;
}

__weak void fz_arch_slot_gone(struct fz_slot *slot)
{
	fz_slot_gone(slot);
}

__weak void fz_arch_check_mapped(struct fz_answer *want)
{
	fz_check_mapped();
}
