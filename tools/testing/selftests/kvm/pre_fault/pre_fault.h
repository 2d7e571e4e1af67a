/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared by the tests of KVM_PRE_FAULT_MEMORY: VMs and guests, host memory,
 * statistics, checked calls.
 */
#ifndef SELFTEST_KVM_PRE_FAULT_H
#define SELFTEST_KVM_PRE_FAULT_H

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

#include "base.h"

/* Tests and guests use 4K pages; not every architecture's library has PAGE_SIZE. */
#ifndef PAGE_SIZE
#define PAGE_SIZE		4096ull
#endif
#define SZ_2M			(512 * PAGE_SIZE)
#define SZ_1G			(512 * SZ_2M)

/*
 * The guest maps [TEST_GPA, TEST_GPA + 1G) to the same virtual address with 2M
 * pages, i.e. with one page directory. Once stage-2 maps the page directory, any
 * further fault is due to the data.
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
	PF_NEEDS_TDP,		/* the test checks the capability itself */
	PF_NEEDS_SHADOW_PAGING,
};

struct pf_test {
	const char *name;
	void (*fn)(void);
	enum pf_needs needs;
	/* The test maps whole page tables, which all but the legacy MMU do in batches. */
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
extern const struct pf_test pf_race_hugetlb_tests[];
extern const struct pf_test pf_race_host_page_tests[];
extern const struct pf_test pf_race_older_vm_tests[];
extern const struct pf_test pf_arch_tests[];

/* lib/harness.c */

/* Run the tests that the arguments select, as TAP, or list them. */
int pf_main(int argc, char *argv[], const struct pf_group *groups,
	    unsigned int nr_groups);

/* lib/util.c */

#define PF_DEFAULT_ROUNDS	1000
#define PF_REASON_SIZE		PAGE_SIZE

/* The factor by which time limits are longer than on real hardware */
extern unsigned int pf_slowness;
/* Rounds of the memslot races; the other races scale with it. */
extern unsigned int pf_rounds;
/* The seed of the random numbers, to reproduce a failure */
extern unsigned int pf_seed;

/* End the program, or the test, as skipped, with the reason as part of the result. */
__noreturn __printf(1, 2) void pf_skip(const char *fmt, ...);
/* A buffer for the reason; if it is NULL, the reason is printed. */
extern char *pf_skip_reason;

/* Read a number from a file in /sys or /proc; -1 if there is none. */
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
/* Return the text of the trace; the caller frees it. */
char *pf_trace_stop(void);

/* lib/perf_event.c */

/*
 * Count the guest's faults on the vCPUs of the calling thread.  The filter is that of a
 * tracepoint, or NULL.  The first function returns a file or -errno.
 */
int pf_open_faults(const char *filter);
uint64_t pf_read_faults(int fd);
/* Open the file once in each thread. */
uint64_t pf_count_faults(const char *filter);

/* ARCH/arch.c, or lib/arch.c for functions that an architecture does without */

bool pf_shadow_paging(void);
/* Return false if KVM makes SPTEs not present to track accesses. */
bool pf_has_accessed_bit(void);
/* KVM has statistics of the mappings by size, and of the faults fixed. */
extern const bool pf_counts_mappings;
/* The instruction that returns from a function */
extern const uint32_t pf_return_insn;
/* Call this before the first test. */
void pf_arch_init(void);
/* Get a vCPU statistic that KVM lacks; false if there is no substitute. */
bool pf_arch_stat(const char *name, uint64_t *value);
struct perf_event_attr;
/* Name the event that each of the guest's faults is; false if there is none. */
bool pf_arch_fault_event(struct perf_event_attr *attr);
/* Initialize a new vCPU, so that it can be used. */
void pf_arch_vcpu_init(struct kvm_vcpu *vcpu);
/* Map guest virtual addresses to the same gpa, with 2M pages. */
void pf_arch_map(struct kvm_vm *vm, uint64_t gpa, uint64_t size);

/* lib/guest.c */

enum pf_op {
	PF_READ,	/* counts the words that differ from the pattern */
	PF_WRITE,	/* writes the pattern */
	PF_TOUCH,	/* reads, in as few instructions as possible */
	PF_DIRTY,	/* writes, in as few instructions as possible */
	PF_READ_PLAN,	/* the same with the seeds of pf_plan() */
	PF_WRITE_PLAN,
	PF_EXEC,	/* calls PF_CODE, where pf_fill() puts a return */
};

#define PF_CODE		8

/* A plan has a seed for each page from TEST_GPA on; PF_SKIP means no access. */
#define PF_PLAN_PAGES	4096
#define PF_SKIP		0
#define PF_ZEROS	255	/* zeros instead of the pattern */

/* Create a VM with a vCPU without a register set, and no memslot. */
struct kvm_vcpu *pf_raw_vcpu(void);
/* Create a VM whose vCPUs run the commands of pf_guest(). */
struct kvm_vm *pf_guest_vm(unsigned int nr_vcpus, struct kvm_vcpu *vcpus[]);
struct kvm_vcpu *pf_guest_vcpu(void);
/* The same, with @mem in TEST_SLOT at TEST_GPA */
struct kvm_vcpu *pf_memory_vcpu(uint32_t flags, void *mem, uint64_t size);
void pf_add_slot(struct kvm_vm *vm, uint32_t slot, uint64_t gpa, uint64_t size,
		 void *mem);
/* Delete TEST_SLOT, and create it again. */
void pf_renew_slot(struct kvm_vm *vm, uint64_t size, void *mem);
/* The parts of pf_guest_vm(), for a VM and vCPUs that the caller creates */
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
 * Have the guest access pages, and check that it takes no stage-2 fault. It must be the
 * first access since @leaves pre-faulted SPTEs mapped the pages, or the first write
 * since the pages were read.
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
/* The number of the guest's exits for any reason; counting it costs nothing. */
uint64_t pf_nr_exits(struct kvm_vcpu *vcpu);
/* True if KVM counts pre-faulted pages; valid after the first pf_stats() */
extern bool pf_counts_prefaults;
/* Return true if KVM counted @nr pages since then, or does not count them. */
bool pf_prefaulted(const struct pf_stats *since, uint64_t nr);
bool pf_fixed(const struct pf_stats *since, uint64_t nr);
bool pf_mapped(const struct pf_stats *since, uint64_t nr_4k, uint64_t nr_2m);
/* The number of 4K pages that the guest's accesses mapped */
uint64_t pf_mapped_by_guest(const struct pf_stats *since);
/* Return true if the guest's accesses to @npages pages mapped huge pages. */
bool pf_mapped_huge(const struct pf_stats *since, uint64_t npages);
/* The statistics of the guest's accesses, without those of a warm-up before */
struct pf_stats pf_guest_stats(struct kvm_vcpu *vcpu, enum pf_op op,
			       uint64_t gpa, uint64_t npages, uint64_t seed);

/* lib/call.c */

/* Call the ioctl. Return 0 or the errno. */
int pf_call(struct kvm_vcpu *vcpu, struct kvm_pre_fault_memory *range);

/* One call must return @err, make progress by @done, and change nothing else. */
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

/* The same, and the call must map @pages of 4K and count each once. */
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
 * A thread that pre-faults a range in a loop, from its start each time or, with
 * @resume, from the end of the last call. Each call is checked.
 */
struct pf_loop {
	struct kvm_vcpu *vcpu;
	uint64_t gpa;
	uint64_t size;
	/* The errno values that a call may return; with none, each call must complete. */
	int errs[2];
	bool resume;
	bool pinned;
	int cpu;

	/* Set by the thread and by pf_loop_start() */
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

/* Run all of them, and @meanwhile() in this thread if it is not NULL. */
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
	/* Make memory, populated with the pattern from TEST_GPA on unless it is new. */
	void *(*make)(size_t size, uint64_t seed);
	/* The flags of mmap() and the advice of madvise(), for pf_map_memory() */
	int map;
	int advice;
	uint32_t slot_flags;
	/* The guest may write to it without a stage-2 fault. */
	bool writable;
	/* It reads as zeros. */
	bool zeros;
	/* Pre-fault it before the pre-fault that is measured. */
	bool already_mapped;
	/* The benchmark measures it by default. */
	bool measured;
};

extern const struct pf_memory_type pf_memory_types[NR_PF_MEMORY];

/* Create a VM with a guest, and with new memory of that type in TEST_SLOT. */
struct kvm_vcpu *pf_vcpu_with(enum pf_memory memory, uint64_t size);

static inline void *pf_mem(enum pf_memory memory, size_t size, uint64_t seed)
{
	return pf_memory_types[memory].make(size, seed);
}

/* The type of memory, besides hugetlb, that KVM maps with huge pages */
extern const enum pf_memory pf_huge;

/* Only map memory, at @at or, if that is NULL, at an address of pf_mmap(). */
void *pf_map_memory(enum pf_memory memory, void *at, size_t size, int fd,
		    size_t offset);

/* lib/memory.c */

/* mmap() at a multiple of 2M, or of 1G if @size is one. */
void *pf_mmap(size_t size, int prot, int flags, int fd);
void pf_fill(void *hva, uint64_t gpa, size_t size, uint64_t seed);
int pf_memfd(size_t size);
int pf_tmpfile(size_t size);

static inline uint64_t pf_pattern(uint64_t gpa, uint64_t seed)
{
	return (gpa >> 12) * 0x9e3779b97f4a7c15ul + seed;
}

/* Return true if the host reads the contents that a plan's seed stands for. */
bool pf_page_is(const void *page, uint64_t gpa, uint8_t seed);

/* The sum of a field of smaps over the mappings in the range, in kB */
uint64_t pf_smaps(void *hva, size_t size, const char *field);
#define PAGEMAP_PRESENT		BIT_ULL(63)
#define PAGEMAP_SWAP		BIT_ULL(62)
#define PAGEMAP_FILE		BIT_ULL(61)
#define PAGEMAP_SOFT_DIRTY	BIT_ULL(55)
#define PAGEMAP_PFN		GENMASK_ULL(54, 0)
uint64_t pf_pagemap(void *hva);

/* lib/host.c: services of the host. Without the service, the test is skipped. */

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

void pf_need_swap(void);

/* Return a file descriptor, or -1 and an errno; @features may be NULL. */
int __pf_uffd_open(uint64_t *features);
int __pf_uffd_register(int fd, void *mem, size_t size, uint64_t mode);
int pf_uffd_open(void *mem, size_t size, uint64_t mode);
/* Return the page that a thread faults on; NULL if none does within @ms. */
void *pf_uffd_poll(int fd, unsigned int ms);
/* Wait for a thread to fault on a page. */
void *pf_uffd_wait(int fd);
void pf_uffd_copy(int fd, void *page, void *data);
/* Return 0, or -1 and an errno. */
int pf_uffd_zeropage(int fd, void *mem, size_t size);
void pf_uffd_protect(int fd, void *page, bool protect);
/* The same, but return -1 and an errno if it fails. */
int __pf_uffd_protect(int fd, void *page, bool protect);

/* Fills missing pages of @mem with the pattern from TEST_GPA on, and seed 1. */
struct pf_uffd_server {
	int fd;
	void *mem;
	/* The number of pages to serve, and of those served */
	unsigned int nr;
	unsigned int served;
	pthread_t thread;
};

/* Register @mem. */
void pf_uffd_server_open(struct pf_uffd_server *server, size_t size);
void pf_uffd_serve_page(struct pf_uffd_server *server, void *page);
/* Serve @nr pages from a thread. */
void pf_uffd_server_start(struct pf_uffd_server *server, unsigned int nr);
/* Wait for the thread, and check that it served @nr pages. */
void pf_uffd_server_finish(struct pf_uffd_server *server);

void pf_ksm_start(void);
void pf_ksm_stop(void);
/* Wait for enough scans of KSM to merge the pages that do not change. */
void pf_ksm_scan(void);
long pf_ksm_merged(void);

/* Return how many of the pages are on the node afterwards, or -1 and an errno. */
int pf_move_pages(void *mem, unsigned int nr, int node);

/* ARCH/overhead.c */

/*
 * An exit to measure, which @once() causes in the guest: an exit to userspace with
 * @reason, or, with 0, one that the kernel handles.
 */
struct pf_exit {
	const char *name;
	void (*once)(void);
	uint32_t reason;
};

/* The exits of the architecture; the last one is empty. No memslot has PF_MMIO_GPA. */
#define PF_MMIO_GPA		(2ul << 30)
extern const struct pf_exit pf_exits[];

#endif /* SELFTEST_KVM_PRE_FAULT_H */
