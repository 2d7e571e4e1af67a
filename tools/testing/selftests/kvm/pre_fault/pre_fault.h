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
	/* Maps whole page tables, for which the TDP MMU and arm64 have batches. */
	bool batch;
};

#define PF_TEST(fn)		{ #fn, fn, PF_NEEDS_CAP }
#define PF_TEST_BATCH(fn)	{ #fn, fn, PF_NEEDS_CAP, true }
#define PF_TEST_TDP(fn)		{ #fn, fn, PF_NEEDS_TDP }
#define PF_TEST_SHADOW(fn)	{ #fn, fn, PF_NEEDS_SHADOW_PAGING }

/* The tests of a file, named for it: "FOLDER/FILE" */
struct pf_group {
	const char *name;
	/* Ends with an empty entry. */
	const struct pf_test *tests;
};

/* The tests of pre_fault_test, by file */
extern const struct pf_test pf_argument_tests[];
extern const struct pf_test pf_error_tests[];
extern const struct pf_test pf_hole_tests[];
extern const struct pf_test pf_memslot_tests[];
extern const struct pf_test pf_signal_tests[];
extern const struct pf_test pf_stats_tests[];
extern const struct pf_test pf_tracepoint_tests[];
extern const struct pf_test pf_memory_type_tests[];
extern const struct pf_test pf_huge_page_tests[];
extern const struct pf_test pf_copy_on_write_tests[];
extern const struct pf_test pf_already_mapped_tests[];
extern const struct pf_test pf_range_tests[];
extern const struct pf_test pf_pte_mix_tests[];
extern const struct pf_test pf_dirty_log_tests[];
extern const struct pf_test pf_userfaultfd_tests[];
extern const struct pf_test pf_ksm_tests[];
extern const struct pf_test pf_soft_dirty_tests[];
extern const struct pf_test pf_numa_balancing_tests[];
extern const struct pf_test pf_reclaim_tests[];
extern const struct pf_test pf_special_tests[];
extern const struct pf_test pf_race_memslot_tests[];
extern const struct pf_test pf_race_vcpu_tests[];
extern const struct pf_test pf_race_host_memory_tests[];
extern const struct pf_test pf_race_host_page_tests[];
extern const struct pf_test pf_arch_tests[];

/* lib/harness.c */

/* Run the tests that the arguments select, as TAP, or list them. */
int pf_main(int argc, char *argv[], const struct pf_group *groups,
	    unsigned int nr_groups);

/* lib/util.c */

#define PF_DEFAULT_ROUNDS	1000
#define PF_REASON_SIZE		PAGE_SIZE

/* How much longer than on plain hardware anything may take. */
extern unsigned int pf_slowness;
/* Rounds of the memslot races; the other races scale with it. */
extern unsigned int pf_rounds;
/* Of the random numbers, to have a failure again */
extern unsigned int pf_seed;

/* End the program, or the test, as skipped, with the reason as part of the result. */
__noreturn __printf(1, 2) void pf_skip(const char *fmt, ...);
/* A buffer for the reason; if it is NULL, the reason is printed. */
extern char *pf_skip_reason;

/* Of a file in /sys or /proc; -1 if there is none. */
long pf_read_long(const char *path);
/* Return true for Y and 1. */
bool pf_read_bool(const char *path);
int pf_write_str(const char *path, const char *value);

pthread_t pf_thread(void *(*fn)(void *), void *arg);
void pf_join(pthread_t thread);
pid_t pf_fork(void);
/* Wait for the end of a child.  Returns its status, as waitpid() has it. */
int pf_wait(pid_t pid);
/* Call @fn in a child, which exits with 0 then.  Returns its status. */
int pf_in_child(void (*fn)(const void *arg), const void *arg);
pid_t pf_gettid(void);
int pf_nr_cpus(void);
void pf_pin(int cpu);
/* Install a handler that does nothing, and does not restart system calls. */
void pf_catch(int sig);
double pf_now(void);

/* lib/tracefs.c */

/*
 * Trace @events ("SYSTEM/EVENT", the last one is NULL) with times as of
 * CLOCK_MONOTONIC, of one task only or of all for 0.
 */
void pf_trace_start(const char * const events[], pid_t only);
/* The text of it, to be freed */
char *pf_trace_stop(void);

/* ARCH/arch.c */

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

/* lib/guest.c */

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
/* For callers that run the vCPU themselves */
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

/* lib/stats.c: of the vCPU and of its VM */

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
/* Does KVM count the pages that are pre-faulted? Known with the first pf_stats() */
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

/* lib/call.c */

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

/*
 * A thread that calls for a range over and over, from its start each time or, with
 * @resume, on from where a call ended. Each call is checked.
 */
struct pf_loop {
	struct kvm_vcpu *vcpu;
	uint64_t gpa;
	uint64_t size;
	/* The errno values that a call may return; with none it has to do it all. */
	int errs[2];
	bool resume;
	bool pinned;
	int cpu;

	/* Of the thread */
	pthread_t thread;
	bool started;
	bool stop;
	unsigned long calls;
	unsigned long done;
	unsigned long failed[2];
	double ended;	/* when the last call returned */
};

void pf_loop_start(struct pf_loop *loop);
void pf_loop_stop(struct pf_loop *loop);
/* Print the counts, and fail if there was no call. */
void pf_loop_report(struct pf_loop *loop, unsigned int rounds);
/* Wait for the next call, or @counter of calls, but not for long. */
void pf_loop_let_in(struct pf_loop *loop, const unsigned long *counter,
		    double seconds);

/* A vCPU that pre-faults a range at the same time as other vCPUs */
struct pf_mapper {
	struct kvm_vcpu *vcpu;
	uint64_t gpa;
	uint64_t size;
	pthread_t thread;
	pthread_barrier_t *barrier;
};

/* Run them all, with @meanwhile() in this thread if it is not NULL. */
void pf_mappers_run(struct pf_mapper *mappers, unsigned int nr,
		    void (*meanwhile)(void *arg), void *arg);

/* lib/memory_types.c */

enum pf_memory {
	PF_ANON,
	PF_MEMFD,
	PF_FILE,
	PF_ANON_NEW,
	PF_MEMFD_NEW,
	PF_FILE_NEW,
	PF_MIXED,
	PF_THP_SHIFTED,
	PF_DIRTY_LOG,
	PF_ALREADY_MAPPED,
	PF_THP,
	PF_HUGETLB_2M,
	PF_HUGETLB_1G,
	PF_THP_NEW,
	PF_ANON_SHARED,
	PF_MEMFD_PRIVATE,
	PF_MLOCKED,
	PF_SMALL_FILE,
	PF_ALIAS,
	NR_PF_MEMORY
};

struct pf_memory_type {
	const char *name;
	const char *help;
	/* Populated with the pattern of the page at TEST_GPA, unless it is new */
	void *(*make)(size_t size, uint64_t seed);
	/* Flags of mmap(), and advice of madvise(), if that is all of it */
	int map;
	int advice;
	uint32_t slot_flags;
	/* The guest may write to it without a stage-2 fault. */
	bool writable;
	/* It reads as zeros. */
	bool zeros;
	/* To be pre-faulted before the pre-fault that is measured */
	bool already_mapped;
	/* By the benchmark, unless it is told otherwise */
	bool measured;
};

extern const struct pf_memory_type pf_memory_types[NR_PF_MEMORY];

static inline void *pf_mem(enum pf_memory memory, size_t size, uint64_t seed)
{
	return pf_memory_types[memory].make(size, seed);
}

/* Of which memory does KVM make huge mappings? It does of hugetlb in any case. */
extern const enum pf_memory pf_huge;

/* Just the mapping: at @at, or if that is NULL, where pf_mmap() has room */
void *pf_map_memory(enum pf_memory memory, void *at, size_t size, int fd,
		    size_t offset);

/* lib/memory.c */

/* An address that is 0 modulo 2M (1G for pages of that size). */
void *pf_mmap(size_t size, int prot, int flags, int fd);
void pf_fill(void *hva, uint64_t gpa, size_t size, uint64_t seed);
int pf_memfd(size_t size);
int pf_tmpfile(size_t size);

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

/* lib/host.c: services of the host; where there is none, the test is skipped. */

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

void pf_need_swap(void);

/* Return a file descriptor, or -1 and an errno; @features may be NULL. */
int __pf_uffd_open(uint64_t *features);
int __pf_uffd_register(int fd, void *mem, size_t size, uint64_t mode);
int pf_uffd_open(void *mem, size_t size, uint64_t mode);
/* The page that a thread stopped at; NULL if none did for so long */
void *pf_uffd_poll(int fd, unsigned int ms);
/* Wait for a thread to stop at a page. */
void *pf_uffd_wait(int fd);
void pf_uffd_copy(int fd, void *page, void *data);
/* Return 0, or -1 and an errno. */
int pf_uffd_zeropage(int fd, void *mem, size_t size);
void pf_uffd_protect(int fd, void *page, bool protect);
/* The same, but return -1 and an errno if it fails. */
int __pf_uffd_protect(int fd, void *page, bool protect);

/* Supplies missing pages of @mem with the pattern of TEST_GPA, and seed 1. */
struct pf_uffd_server {
	int fd;
	void *mem;
	/* How many pages to serve, and how many were */
	unsigned int nr;
	unsigned int served;
	pthread_t thread;
};

/* Register @mem. */
void pf_uffd_server_open(struct pf_uffd_server *server, size_t size);
void pf_uffd_serve_page(struct pf_uffd_server *server, void *page);
/* Serve @nr pages from a thread. */
void pf_uffd_server_start(struct pf_uffd_server *server, unsigned int nr);
/* Wait until it has, and check that it did. */
void pf_uffd_server_finish(struct pf_uffd_server *server);

void pf_ksm_start(void);
void pf_ksm_stop(void);
/* Let KSM look at everything often enough to merge what has not changed. */
void pf_ksm_scan(void);
long pf_ksm_merged(void);

/* Return how many of the pages are on the node then, or -1 and an errno. */
int pf_move_pages(void *mem, unsigned int nr, int node);

/* ARCH/overhead.c */

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

#endif /* SELFTEST_KVM_PRE_FAULT_MEMORY_H */
