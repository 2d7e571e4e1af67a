/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Copyright (C) 2026 The KVM_PRE_FAULT_MEMORY maintainers
 *
 * KVM_PRE_FAULT_MEMORY for VMMs to copy: this file, kvm_pre_fault.c, and for threads of
 * the library kvm_pre_fault_threads.c. They need only libc, pthreads and any version of
 * linux/kvm.h.
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

/* Populate memory that the guest will write to, with MADV_POPULATE_WRITE. */
#define KVM_PRE_FAULT_POPULATE		(1U << 0)
/* Leave out the holes of the file behind the memory. */
#define KVM_PRE_FAULT_SKIP_HOLES	(1U << 1)

/**
 * struct kvm_pre_fault_area - guest memory to map
 * @gpa: start in bytes, page aligned
 * @size: size in bytes, page aligned; 0 is no error
 * @flags: KVM_PRE_FAULT_POPULATE, KVM_PRE_FAULT_SKIP_HOLES, both or 0
 * @fd: with KVM_PRE_FAULT_SKIP_HOLES: the file, whose file offset changes
 * @offset: with KVM_PRE_FAULT_SKIP_HOLES: start in the file in bytes, page aligned
 * @hva: with KVM_PRE_FAULT_POPULATE: start in this process, page aligned
 */
struct kvm_pre_fault_area {
	uint64_t gpa;
	uint64_t size;
	uint32_t flags;
	int fd;
	uint64_t offset;
	void *hva;
};

/**
 * struct kvm_pre_fault_opts - further options and results; zero unused options
 * @progress: in: called as @done grows, by one thread at a time: that of the caller
 *	of kvm_pre_fault_range() or kvm_pre_fault_areas(), or any thread that is in
 *	kvm_pre_fault_work()
 * @opaque: in: for @progress
 * @stop: in: set to non-zero to end early, as if by __atomic_store_n(), by any
 *	thread, signal handler, or @progress
 * @kick_signal: in: a signal whose handler does nothing, to interrupt calls that
 *	sleep after @stop or an error; 0 lets them sleep
 * @next: out: all memory below is done, in this area and the ones before; on
 *	failure, the page that failed
 * @done: out: bytes done, including those above @next and those of holes
 * @skipped: out: bytes of holes
 * @area: out: the index of the area that @next is in; on success the number of areas
 */
struct kvm_pre_fault_opts {
	void (*progress)(void *opaque, uint64_t done, uint64_t total);
	void *opaque;
	const int *stop;
	int kick_signal;

	uint64_t next;
	uint64_t done;
	uint64_t skipped;
	unsigned int area;
};

struct kvm_pre_fault_job;

/* kvm_pre_fault_threads.c: with a thread for each vCPU */
int kvm_pre_fault_range(const int *vcpu_fds, unsigned int nr_vcpus,
			uint64_t gpa, uint64_t size,
			struct kvm_pre_fault_opts *opts);
int kvm_pre_fault_areas(const int *vcpu_fds, unsigned int nr_vcpus,
			const struct kvm_pre_fault_area *areas,
			unsigned int nr_areas, struct kvm_pre_fault_opts *opts);

/* kvm_pre_fault.c: with threads of the VMM */
struct kvm_pre_fault_job *
kvm_pre_fault_begin(unsigned int nr_vcpus, const struct kvm_pre_fault_area *areas,
		    unsigned int nr_areas, struct kvm_pre_fault_opts *opts);
unsigned int kvm_pre_fault_vcpus(const struct kvm_pre_fault_job *job);
int kvm_pre_fault_work(struct kvm_pre_fault_job *job, int vcpu_fd);
void kvm_pre_fault_kick(struct kvm_pre_fault_job *job, int signo);
int kvm_pre_fault_end(struct kvm_pre_fault_job *job);

#ifdef __cplusplus
}
#endif

#endif /* KVM_PRE_FAULT_H */
