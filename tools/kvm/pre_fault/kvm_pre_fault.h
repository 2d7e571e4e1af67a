/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Copyright (C) 2026 The KVM_PRE_FAULT_MEMORY maintainers
 *
 * KVM_PRE_FAULT_MEMORY for VMMs to copy: this file and kvm_pre_fault.c, which need
 * only libc, pthreads and any version of linux/kvm.h.
 */
#ifndef KVM_PRE_FAULT_H
#define KVM_PRE_FAULT_H

#include <linux/kvm.h>
#include <linux/types.h>
#include <stdint.h>
#include <sys/ioctl.h>

/* The installed kernel headers may be older than the ioctl. */
#ifndef KVM_PRE_FAULT_MEMORY
struct kvm_pre_fault_memory {
	__u64 gpa;
	__u64 size;
	__u64 flags;
	__u64 padding[5];
};

#define KVM_PRE_FAULT_MEMORY _IOWR(KVMIO, 0xd5, struct kvm_pre_fault_memory)
#endif

#ifndef KVM_CAP_PRE_FAULT_MEMORY
#define KVM_CAP_PRE_FAULT_MEMORY 236
#endif

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct kvm_pre_fault_opts - further options and results of
 *			       kvm_pre_fault_range(); zero unused options
 * @progress: in: called as @done grows, in the thread of the caller
 * @opaque: in: for @progress
 * @stop: in: set to non-zero to end early, as if by __atomic_store_n(), by any
 *	thread, signal handler, or @progress
 * @kick_signal: in: a signal whose handler does nothing, to interrupt calls that
 *	sleep after @stop or an error; 0 lets them sleep
 * @next: out: all memory below is done; on failure, the page that failed
 * @done: out: bytes done, including those above @next
 */
struct kvm_pre_fault_opts {
	void (*progress)(void *opaque, uint64_t done, uint64_t total);
	void *opaque;
	const int *stop;
	int kick_signal;

	uint64_t next;
	uint64_t done;
};

int kvm_pre_fault_range(const int *vcpu_fds, unsigned int nr_vcpus,
			uint64_t gpa, uint64_t size,
			struct kvm_pre_fault_opts *opts);

#ifdef __cplusplus
}
#endif

#endif /* KVM_PRE_FAULT_H */
