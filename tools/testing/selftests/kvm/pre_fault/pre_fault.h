/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared by the tests of KVM_PRE_FAULT_MEMORY: VMs and guests, host memory,
 * statistics, checked calls.
 */
#ifndef SELFTEST_KVM_PRE_FAULT_MEMORY_H
#define SELFTEST_KVM_PRE_FAULT_MEMORY_H

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

#include "base.h"

/* Tests and guests have pages of 4K; not every architecture's library says so. */
#ifndef PAGE_SIZE
#define PAGE_SIZE		4096ull
#endif
#define SZ_2M			(512 * PAGE_SIZE)
#define SZ_1G			(512 * SZ_2M)

/*
 * The guest sees [TEST_GPA, TEST_GPA + 1G) at the same virtual address through
 * 2M pages, i.e. through one page directory: once that is mapped in stage-2,
 * any fault there is due to the data.
 */
#define TEST_GPA		(4ul << 30)
#define TEST_SLOT		10
#define TEST_SLOT2		11
#define TEST_SLOT3		12
#define WARM_SLOT		20
#define WARM_GPA		(TEST_GPA + SZ_1G - SZ_2M)

#define MAX_TEST_VCPUS		4

enum pf_needs {
	PF_NEEDS_CAP,
	PF_NEEDS_TDP,		/* and finds out about the capability */
	PF_NEEDS_SHADOW_PAGING,
};

struct pf_test {
	const char *name;
	void (*fn)(void);
	enum pf_needs needs;
};

#define PF_TEST(fn)		{ #fn, fn, PF_NEEDS_CAP }
#define PF_TEST_TDP(fn)		{ #fn, fn, PF_NEEDS_TDP }
#define PF_TEST_SHADOW(fn)	{ #fn, fn, PF_NEEDS_SHADOW_PAGING }

/* Each ends with an empty entry. */
extern const struct pf_test pf_api_tests[];
extern const struct pf_test pf_error_tests[];
extern const struct pf_test pf_hole_tests[];
extern const struct pf_test pf_signal_tests[];
extern const struct pf_test pf_uffd_tests[];
extern const struct pf_test pf_slot_tests[];
extern const struct pf_test pf_backing_tests[];
extern const struct pf_test pf_existing_tests[];
extern const struct pf_test pf_dirty_tests[];
extern const struct pf_test pf_race_tests[];
extern const struct pf_test pf_vcpu_tests[];
extern const struct pf_test pf_trace_tests[];
extern const struct pf_test pf_batch_mix_tests[];
extern const struct pf_test pf_batch_range_tests[];
extern const struct pf_test pf_batch_host_tests[];
extern const struct pf_test pf_batch_special_tests[];
extern const struct pf_test pf_batch_dirty_tests[];
extern const struct pf_test pf_batch_reclaim_tests[];
extern const struct pf_test pf_batch_race_tests[];
extern const struct pf_test pf_arch_tests[];

/* How much longer than on plain hardware anything may take. */
extern unsigned int pf_slowness;
/* Rounds of the memslot loops; the other races scale with it. */
extern unsigned int pf_rounds;
/* Of the random numbers, to have a failure again */
extern unsigned int pf_seed;

/* End the test as skipped. Never silently: the reason is part of the result. */
__noreturn __printf(1, 2) void pf_skip(const char *fmt, ...);

/*
 * Run the tests in @groups whose names match the pattern @only, or all of them
 * for NULL, as TAP, and exit.
 */
void pf_run_tests(const struct pf_test * const groups[], unsigned int nr_groups,
		  const char *only);
void pf_list_tests(const struct pf_test * const groups[], unsigned int nr_groups);

/*
 * Trace @events ("SYSTEM/EVENT", the last one is NULL) with times as of
 * CLOCK_MONOTONIC, of one task only or of all for 0.
 */
void pf_trace_start(const char * const events[], pid_t only);
/* The text of it, to be freed */
char *pf_trace_stop(void);

/* Provided by each architecture */
bool pf_shadow_paging(void);
/* False when a mapping that is not Accessed is made not present by KVM. */
bool pf_has_accessed_bit(void);
/* KVM counts the mappings that it has, by size, and those that it makes. */
extern const bool pf_counts_mappings;
/* The instruction that returns from a function */
extern const uint32_t pf_return_insn;
/* To be done before the first test */
void pf_arch_init(void);
/* The vCPU statistic of that name; false if there is no such thing. */
bool pf_arch_stat(const char *name, uint64_t *value);
/* Have a new vCPU in the state in which it can be used. */
void pf_arch_vcpu_init(struct kvm_vcpu *vcpu);
/* Map the guest's addresses to where they are, with pages of 2M. */
void pf_arch_map(struct kvm_vm *vm, uint64_t gpa, uint64_t size);

/* Guests */
enum pf_op {
	PF_READ,	/* answers how many words differ from the pattern */
	PF_WRITE,	/* writes the pattern */
	PF_TOUCH,	/* reads, in as few instructions as can be */
	PF_DIRTY,	/* writes, in as few instructions as can be */
	PF_READ_PLAN,	/* the same with the seeds of pf_plan() */
	PF_WRITE_PLAN,
	PF_EXEC,	/* calls PF_CODE, where pf_fill() puts a return */
};

#define PF_CODE		8

/* A seed for each page from TEST_GPA on; no access to those of PF_SKIP. */
#define PF_PLAN_PAGES	4096
#define PF_SKIP		0
#define PF_ZEROS	255	/* not the pattern but zeros */

/* A VM with nothing but a vCPU: no register set, no memslot. */
struct kvm_vcpu *pf_raw_vcpu(void);
/* A VM whose vCPUs run what pf_guest() orders. */
struct kvm_vm *pf_guest_vm(unsigned int nr_vcpus, struct kvm_vcpu *vcpus[]);
struct kvm_vcpu *pf_guest_vcpu(void);
/* With @mem in TEST_SLOT at TEST_GPA. */
struct kvm_vcpu *pf_memory_vcpu(uint32_t flags, void *mem, uint64_t size);
/* The same for a VM and vCPUs made by the caller. */
void pf_guest_map(struct kvm_vm *vm);
void pf_guest_main(uint64_t id);

uint64_t pf_guest(struct kvm_vcpu *vcpu, enum pf_op op, uint64_t gpa,
		  uint64_t npages, uint64_t seed);
void pf_plan(struct kvm_vcpu *vcpu, const uint8_t *seeds, uint64_t npages);
/* For those who have the guest run by themselves */
void pf_guest_order(struct kvm_vcpu *vcpu, enum pf_op op, uint64_t gpa,
		    uint64_t npages, uint64_t seed);
/* The two halves of pf_guest(), for accesses that exit to userspace. */
unsigned int pf_guest_start(struct kvm_vcpu *vcpu, enum pf_op op, uint64_t gpa,
			    uint64_t npages, uint64_t seed);
uint64_t pf_guest_finish(struct kvm_vcpu *vcpu);
/* Return true if one of these accesses exited before the guest was done. */
bool pf_guest_mmio(struct kvm_vcpu *vcpu);

/* Check the contents that the guest reads, not its faults. */
#define pf_guest_check(vcpu, gpa, npages, seed) do {			\
	uint64_t __wrong = pf_guest(vcpu, PF_READ, gpa, npages, seed);	\
									\
	TEST_ASSERT(!__wrong, "guest read %lu wrong words", __wrong);	\
} while (0)

/*
 * Have the guest access pages, each for the first time since it was mapped by
 * @leaves pre-faulted SPTEs, or written for the first time since it was read,
 * and check that it took no stage-2 fault for it.
 */
#define pf_guest_no_fault(vcpu, op, gpa, npages, seed, leaves)		\
	__pf_guest_no_fault(vcpu, op, gpa, npages, seed, leaves,	\
			    __FILE__, __LINE__)
void __pf_guest_no_fault(struct kvm_vcpu *vcpu, enum pf_op op, uint64_t gpa,
			 uint64_t npages, uint64_t seed, uint64_t leaves,
			 const char *file, int line);

/* Statistics of the vCPU and of its VM */
struct pf_stats {
	uint64_t taken;
	uint64_t fixed;
	uint64_t emulate;
	uint64_t spurious;
	uint64_t fast;
	uint64_t mmio_spte;
	uint64_t prefaulted;
	uint64_t pages_4k;
	uint64_t pages_2m;
	uint64_t pages_1g;
};

struct pf_stats pf_stats(struct kvm_vcpu *vcpu);
struct pf_stats pf_stats_since(struct kvm_vcpu *vcpu,
			       const struct pf_stats *before);
/* Each of the guest's exits, be it for a fault or something else; has no price. */
uint64_t pf_nr_exits(struct kvm_vcpu *vcpu);
/* Does KVM count the pages that are pre-faulted?  Known with the first pf_stats() */
extern bool pf_counts_prefaults;
/* So many pages more than before, as far as KVM counts them. */
bool pf_prefaulted(const struct pf_stats *since, uint64_t nr);
bool pf_fixed(const struct pf_stats *since, uint64_t nr);
bool pf_mapped(const struct pf_stats *since, uint64_t nr_4k, uint64_t nr_2m);
/* The 4K pages that the guest's first access to them has mapped */
uint64_t pf_mapped_by_guest(const struct pf_stats *since);
/* Return true if the guest's access to so many pages has mapped huge ones. */
bool pf_mapped_huge(const struct pf_stats *since, uint64_t npages);
/* The guest's accesses between two stats, without the warm-up around them. */
struct pf_stats pf_guest_stats(struct kvm_vcpu *vcpu, enum pf_op op,
			       uint64_t gpa, uint64_t npages, uint64_t seed);

/* The ioctl: 0 or the errno */
int pf_call(struct kvm_vcpu *vcpu, struct kvm_pre_fault_memory *range);

/* One call must give @err and have moved on by @done, and change no more. */
#define pf_expect(vcpu, gpa, size, err, done) \
	__pf_expect(vcpu, gpa, size, err, done, __FILE__, __LINE__)
void __pf_expect(struct kvm_vcpu *vcpu, uint64_t gpa, uint64_t size, int err,
		 uint64_t done, const char *file, int line);

/* One call must do all of it. */
#define pf_map(vcpu, gpa, size) do {		\
	uint64_t __size = (size);		\
						\
	pf_expect(vcpu, gpa, __size, 0, __size);	\
} while (0)

/* It must have mapped @pages of 4K for that, and counted each once. */
#define pf_expect_pages(vcpu, gpa, size, err, done, pages) \
	__pf_expect_pages(vcpu, gpa, size, err, done, pages, __FILE__, __LINE__)
void __pf_expect_pages(struct kvm_vcpu *vcpu, uint64_t gpa, uint64_t size,
		       int err, uint64_t done, uint64_t pages,
		       const char *file, int line);

#define pf_map_pages(vcpu, gpa, size, pages) do {			\
	uint64_t __size = (size);					\
									\
	pf_expect_pages(vcpu, gpa, __size, 0, __size, pages);		\
} while (0)

/* Host memory */
enum pf_backing {
	PF_ANON,
	PF_THP,
	PF_HUGETLB_2M,
	PF_HUGETLB_1G,
	PF_MEMFD,
	PF_FILE,
};

/* Of which memory does KVM make huge mappings? It does of hugetlb in any case. */
extern const enum pf_backing pf_huge;

/* An address that is 0 modulo 2M (1G for pages of that size). */
void *pf_mmap(size_t size, int prot, int flags, int fd);
/* The same, readable, writable and of 4K pages; to fail ends the test. */
void *pf_mmap_4k(size_t size, int flags, int fd);
/* Memory of that kind, populated with the pattern of the page at TEST_GPA. */
void *pf_mem(enum pf_backing backing, size_t size, uint64_t seed);
void pf_fill(void *hva, uint64_t gpa, size_t size, uint64_t seed);
int pf_tmpfile(size_t size);
/* Anonymous memory that nobody has touched, of 4K pages */
void *pf_untouched(size_t size);

/* Host memory by what it costs to map, for the benchmark */
struct pf_kind {
	const char *name;
	const char *help;
	void *(*mem)(size_t size);
	/* The guest may write to it without a stage-2 fault. */
	bool writable;
	bool again;
	uint32_t slot_flags;
};

extern const struct pf_kind pf_kinds[];
extern const unsigned int pf_nr_kinds;

/*
 * An exit that the cost is known of, made in the guest by @once: to user space
 * for the @reason, or to the kernel only (0).
 */
struct pf_exit {
	const char *name;
	void (*once)(void);
	uint32_t reason;
};

/* Those of the architecture; the last one is empty. No memslot has that address. */
#define PF_MMIO_GPA		(2ul << 30)
extern const struct pf_exit pf_exits[];

static inline uint64_t pf_pattern(uint64_t gpa, uint64_t seed)
{
	return (gpa >> 12) * 0x9e3779b97f4a7c15ul + seed;
}

/* The host's view of a page in a plan */
bool pf_page_is(const void *page, uint64_t gpa, uint8_t seed);

/* kB, summed up over the mappings in the range */
uint64_t pf_smaps(void *hva, size_t size, const char *field);
#define PAGEMAP_PRESENT		BIT_ULL(63)
#define PAGEMAP_SWAP		BIT_ULL(62)
#define PAGEMAP_FILE		BIT_ULL(61)
#define PAGEMAP_SOFT_DIRTY	BIT_ULL(55)
#define PAGEMAP_PFN		GENMASK_ULL(54, 0)
uint64_t pf_pagemap(void *hva);

/* Of a file in /sys or /proc; -1 if there is none. */
long pf_read_long(const char *path);
int pf_write_str(const char *path, const char *value);

/* Services of the host; where there is none, the test is skipped. */
void pf_need_swap(void);
int pf_uffd_open(void *mem, size_t size, uint64_t mode);
/* Wait for somebody to stop at a page. */
void *pf_uffd_wait(int fd);
void pf_uffd_copy(int fd, void *page, void *data);
void pf_uffd_protect(int fd, void *page, bool protect);
/* The same, but return -1 and an errno if it fails. */
int __pf_uffd_protect(int fd, void *page, bool protect);
void pf_ksm_start(void);
void pf_ksm_stop(void);
/* Let KSM look at everything often enough to merge what has not changed. */
void pf_ksm_scan(void);
long pf_ksm_merged(void);

/* Threads and time */
pthread_t pf_thread(void *(*fn)(void *), void *arg);
void pf_join(pthread_t thread);
pid_t pf_gettid(void);
/* A handler that does nothing, and does not restart system calls. */
void pf_catch(int sig);
double pf_now(void);

#endif /* SELFTEST_KVM_PRE_FAULT_MEMORY_H */
