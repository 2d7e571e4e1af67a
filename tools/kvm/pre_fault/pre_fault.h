/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef PRE_FAULT_H
#define PRE_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvm_pre_fault.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#define SZ_4K		0x1000ULL
#define SZ_64K		0x10000ULL
#define SZ_2M		0x200000ULL
#define SZ_1G		0x40000000ULL

/*
 * The guest runs without paging, which on x86 limits all that it reads to 4G.
 * 2M-aligned, so that host huge pages can be mapped as such.
 */
#define CODE_GPA	0x1000ULL
#define MEM_GPA		0x20000000ULL
#define MEM_MAX		(3 * SZ_1G)

struct options {
	uint64_t memory;
	unsigned int vcpus;
	bool icount;
	bool pre_fault;
};

/* backing.c: the host memory behind the guest's */
struct memory {
	void *hva;
	uint64_t size;
	void *reserved;
	size_t reserved_size;
	bool fresh;
};

struct backing {
	const char *name;
	const char *what;
	uint64_t unit;
	bool by_default;
	bool private_file;
	bool own_pool;
	int (*map)(struct memory *mem);
};

extern const struct backing backings[];
extern const unsigned int nr_backings;

const struct backing *backing_find(const char *name);
int memory_reserve(struct memory *mem, uint64_t size);
int memory_create(struct memory *mem, const struct backing *backing,
		  uint64_t size);
void memory_destroy(struct memory *mem);
long memory_copied_pages(const struct memory *mem);
uint32_t page_word(uint64_t page);

/* counter.c: instructions, or nanoseconds if instructions cannot be counted */
struct counter {
	int fd;
};

void counter_select(bool icount);
const char *counter_unit(void);
const char *counter_unit_of_millions(void);
bool counter_is_clock(void);
int counter_open(struct counter *counter);
int counter_read(const struct counter *counter, uint64_t *value);
void counter_close(struct counter *counter);

/* stats.c: binary statistics of a VM or a vCPU */
struct stat_file {
	int fd;
	struct kvm_stats_header header;
};

int stats_open(struct stat_file *stats, int kvm_fd);
int stats_read(const struct stat_file *stats, const char *name,
	       uint64_t *value);
void stats_close(struct stat_file *stats);

/* vm.c: a VM whose vCPUs read one word of every page of their part */
struct vcpu {
	int fd;
	struct kvm_run *run;
	struct stat_file stats;
	uint64_t gpa;
	uint64_t size;
	uint64_t faults;
	uint64_t fast_faults;
};

struct vm {
	int fd;
	int code_fd;
	void *code;
	size_t run_size;
	unsigned int nr_vcpus;
	struct vcpu *vcpus;
	struct stat_file stats;
};

int vm_create(struct vm *vm, int kvm_fd, const struct memory *mem,
	      unsigned int nr_vcpus);
void vm_destroy(struct vm *vm);
int vcpu_run(struct vcpu *vcpu);
int vcpu_check(const struct vcpu *vcpu);
int vcpu_pre_fault(struct vcpu *vcpu, uint64_t gpa, uint64_t size);

/*
 * vm-ARCH.c: the guest's code, which is loaded to CODE_GPA, its registers, and KVM's
 * statistics of the guest.
 */
extern const struct arch {
	const void *code;
	size_t code_size;
	/* vCPU statistics: the guest's faults, and those that were lockless */
	const char *faults;
	const char *fast_faults;
	/* The name of the former; @counts_stop is true if it counts the guest's stop. */
	const char *unit;
	const char *heading;
	bool counts_stop;
	/* KVM counts the pages that are mapped. */
	bool counts_pages;
} arch;

/* The result in the guest's registers */
struct guest_state {
	uint64_t next;
	uint64_t left;
	uint32_t sum;
};

int arch_vm_init(const struct vm *vm);
int arch_vcpu_init(const struct vm *vm, const struct vcpu *vcpu);
bool arch_stopped(const struct kvm_run *run);
int arch_vcpu_state(const struct vcpu *vcpu, struct guest_state *state);

/* vm-mmio.c: for a guest that stops with a write to an address without memory */
#define STOP_GPA	0x10000000ULL

/* The names for KVM_SET_ONE_REG */
extern const struct guest_regs {
	uint64_t pc;
	uint64_t sum;
	uint64_t next;
	uint64_t left;
	uint64_t stop;
} guest_regs;

int arch_vcpu_power_on(const struct vm *vm, const struct vcpu *vcpu);

/* measure.c: one pass of the guest, with or without a pre-fault before it */
struct pass {
	uint64_t faults;
	uint64_t fast_faults;
	uint64_t pre_fault_cost;
	uint64_t guest_cost;
	uint64_t pages_4k;
	uint64_t pages_2m;
	uint64_t pages_1g;
};

int measure(int kvm_fd, const struct memory *mem, const struct options *opts,
	    const char *name, bool pre_fault, struct pass *pass);

/* progress.c: one line on the terminal */
void progress_say(const char *name, const char *what);
void progress_bar(const char *name, uint64_t done, uint64_t total);
void progress_end(void);

/* table.c */
struct result {
	const struct backing *backing;
	bool failed;
	long copied;
	struct pass without;
	struct pass with;
};

bool pre_fault_was_useless(const struct result *res);
void format_size(char *buf, size_t len, uint64_t size);
void table_print(const struct result *results, unsigned int nr,
		 const struct options *opts);

/* guest.c: Linux as the guest, and its options */
enum guest_option {
	GUEST_OPTION_FIRST = 256,
	GUEST_KERNEL = GUEST_OPTION_FIRST,
	GUEST_INITRD,
	GUEST_APPEND,
	GUEST_PROMPT,
	GUEST_SAVE,
	GUEST_COMMAND,
	GUEST_RESTORE,
	GUEST_WORKING_SET,
	GUEST_TIME_LIMIT,
	GUEST_OPTION_END,
};

bool guest_option(int opt, const char *arg);
bool guest_options_fit(void);
bool guest_wanted(void);
void guest_usage(void);
int guest_run(int kvm_fd, const struct options *opts,
	      const struct result *results, unsigned int nr);

#endif /* PRE_FAULT_H */
