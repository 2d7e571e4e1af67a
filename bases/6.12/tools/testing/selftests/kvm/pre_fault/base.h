/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names and facts of Linux 6.12.
 */
#ifndef SELFTEST_KVM_PRE_FAULT_BASE_H
#define SELFTEST_KVM_PRE_FAULT_BASE_H

#include "old_base.h"

/* KVM marks a page dirty when it maps the page writable. */
#define PF_MARKS_DIRTY		false

/* A pre-fault leaves lazily freed memory reclaimable. */
#define PF_KEEPS_LAZYFREE	true

/* The ioctl loads the vCPU's root before it looks for a memslot. */
#define PF_ROOT_BEFORE_SLOT	true

/* EOPNOTSUPP while the vCPU runs a nested guest without nested paging */
#define PF_REFUSES_L2		false

#endif /* SELFTEST_KVM_PRE_FAULT_BASE_H */
