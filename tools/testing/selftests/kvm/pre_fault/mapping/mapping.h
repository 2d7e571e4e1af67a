/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Checks that several files share, each for its own subject.
 */
#ifndef SELFTEST_KVM_PRE_FAULT_MAPPING_H
#define SELFTEST_KVM_PRE_FAULT_MAPPING_H

#include "../pre_fault.h"

/* already_mapped.c: a pre-fault of the range changes no SPTE. */
void mapping_changes_nothing(struct kvm_vcpu *vcpu, uint64_t gpa, uint64_t size);
/* memory_types.c: the ioctl maps one half as the guest's fault maps the other. */
void mapping_check_like_guest(enum pf_memory memory, size_t half);
/* ranges.c: gpa and hva that differ modulo 2M */
void mapping_check_incongruent(enum pf_memory memory);
/* userfaultfd.c: with @unmap, markers write-protect pages that are absent. */
void mapping_check_uffd_wp(enum pf_memory memory, uint32_t flags, bool unmap);
/* ksm.c */
void mapping_check_ksm(uint32_t flags);
/* soft_dirty.c */
void mapping_check_soft_dirty(enum pf_memory memory, uint32_t flags);

#endif /* SELFTEST_KVM_PRE_FAULT_MAPPING_H */
