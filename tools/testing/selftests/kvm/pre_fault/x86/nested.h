/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SELFTEST_KVM_PRE_FAULT_NESTED_H
#define SELFTEST_KVM_PRE_FAULT_NESTED_H

void eopnotsupp_nested_guest(void);
void nested_shadow_pages(void);

#endif /* SELFTEST_KVM_PRE_FAULT_NESTED_H */
