/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fuzzer of KVM_PRE_FAULT_MEMORY: host memory, memslots, vCPUs, and the model's
 * state of them.
 *
 * A file calls only functions of the files before it: util, model, host, slots, vcpu,
 * faults, vm, call, eagain, pre_fault_fuzz_test. The functions below are in that order.
 * The functions of ARCH/fuzz.c and arch.c, fz_arch_*(), come last and are called by all.
 */
#ifndef SELFTEST_KVM_PRE_FAULT_FUZZ_H
#define SELFTEST_KVM_PRE_FAULT_FUZZ_H

#include "../pre_fault.h"

/*
 * Page numbers of host memory: first a window of areas, each of one type; then a
 * mapping that is much longer than its file; then pages that never change, those of
 * the guest's code and of KVM's own slots.
 */
#define FZ_BLOCK	512
#define FZ_AREA_PAGES	(2 * FZ_BLOCK)
#define FZ_NR_AREAS	8
#define FZ_WINDOW	(FZ_NR_AREAS * FZ_AREA_PAGES)
#define FZ_SPARSE_FILE	256
#define FZ_PAGES	(FZ_WINDOW + FZ_SPARSE_FILE)
#define FZ_SPARSE	(SZ_1G / PAGE_SIZE)
#define FZ_OWN		(FZ_WINDOW + FZ_SPARSE)
#define FZ_NR_OWN	16
#define FZ_NR_INDEX	(FZ_PAGES + FZ_NR_OWN)

#define FZ_MAPPED	BIT(0)
#define FZ_READ		BIT(1)
#define FZ_WRITE	BIT(2)
#define FZ_POISON	BIT(3)
#define FZ_MAX_POISONED	16
#define FZ_PRIVATE	BIT(4)	/* has been written to: no more copy-on-write */

struct fz_area {
	enum pf_memory type;
	int fd;
	uint32_t file_pages;
};

struct fz_host {
	uint8_t *mem;
	struct fz_area areas[FZ_NR_AREAS];
	uint8_t page[FZ_PAGES];
	/* The host maps the block by one huge page. */
	bool huge[FZ_WINDOW / FZ_BLOCK];
	bool can_thp;
	bool can_poison;
	bool injecting;		/* poison is being injected */
	unsigned int poisoned;
	uint64_t last_poisoned;
};

/* The state of a slot's page in stage-2 */
enum fz_map {
	FZ_NO,
	FZ_4K,
	FZ_2M,
	FZ_ANY,		/* mapped, of unknown size */
	FZ_MAYBE,	/* mapped or not, of unknown size */
};

struct fz_slot {
	bool used;
	bool doomed;		/* is about to be deleted */
	bool invalid;		/* is being deleted */
	bool unmappable;	/* as if there were no slot */
	uint16_t id;
	uint8_t as;
	uint32_t flags;
	uint64_t gfn;
	uint64_t npages;
	uint64_t page;		/* host page */
	uint8_t map[FZ_NR_INDEX];
	uint32_t sure;
	uint32_t maybe;
};

#define FZ_USER_SLOTS	32
#define FZ_CODE_SLOT	32
#define FZ_UFFD_SLOT	33
#define FZ_KVM_SLOTS	34
#define FZ_NR_SLOTS	(FZ_KVM_SLOTS + 6)

#define FZ_CODE_GPA	0xe0000000ul
#define FZ_UFFD_GPA	0xe0100000ul

enum {
	FZ_RUNNER,	/* runs the guest */
	FZ_RAW,		/* is never run, and has random state, or none */
	FZ_BLOCKER,	/* sleeps in a userfaultfd */
	FZ_NR_VCPUS,
};

struct fz_vcpu {
	int fd;
	int stats_fd;
	struct kvm_run *run;
	uint8_t as;
	int refuses;		/* all valid calls, with this errno */
	uint64_t prefaulted;
};

struct fz_vm {
	int fd;
	int stats_fd;
	struct fz_vcpu vcpus[FZ_NR_VCPUS];
	struct fz_slot slots[FZ_NR_SLOTS];
	uint64_t last_gfn;	/* mapped by a call, not in SMM */
};

struct fz_call {
	struct kvm_pre_fault_memory range;
	void *argp;
	bool readable;
	bool writable;
};

/* The predicted result of a call; pages as pf_prefaulted counts them */
struct fz_answer {
	int err;
	uint64_t done;
	uint64_t min_pages;
	uint64_t max_pages;
};

/* Facts about this machine, and about its VM */
struct fz_facts {
	bool smm;		/* VMs have two address spaces */
	unsigned int phys_bits;
	unsigned int slot_bits;	/* of the guest physical addresses that can be mapped */
	uint64_t guest_end;	/* of those that the guest can access */
	int refuses;		/* the errno of a vCPU that refuses calls, or 0 */
	unsigned int exact;	/* the least percentage of exact predictions */
};

/* util.c */
extern uint64_t fz_seed, fz_nr_call;

void fz_random_init(uint64_t seed);
uint64_t fz_random(void);
uint64_t fz_below(uint64_t n);
static inline bool fz_chance(unsigned int percent)
{
	return fz_below(100) < percent;
}

/* Record an action for the report of a failure. */
__printf(1, 2) void fz_note(const char *fmt, ...);
__noreturn __printf(1, 2) void fz_fail(const char *fmt, ...);

#define FZ_ASSERT(cond, fmt, ...) do {					\
	if (!(cond))							\
		fz_fail("%s:%d: " fmt, __FILE__, __LINE__, ##__VA_ARGS__); \
} while (0)

void fz_read_stats(int fd, const char *const names[], unsigned int nr,
		   uint64_t *values);

/* model.c: the state, and the predictions of the ABI */
extern struct fz_facts fz_facts;
extern struct fz_host fz_host;
extern struct fz_vm fz_vm;

bool fz_beyond_eof(uint64_t page);
int fz_host_errno(uint64_t page);
struct fz_slot *fz_slot_at(uint8_t as, uint64_t gfn);
bool fz_slot_is_free(uint8_t as, uint64_t gfn, uint64_t npages, struct fz_slot *but);
struct fz_answer fz_predict(struct fz_vcpu *vcpu, const struct fz_call *call);
void fz_mapped(uint8_t as, uint64_t gpa, uint64_t size, struct fz_answer *count);
enum fz_map fz_map_get(const struct fz_slot *slot, uint64_t page);
void fz_map_set(struct fz_slot *slot, uint64_t page, enum fz_map map);
bool fz_is_mapped(enum fz_map map);
bool fz_can_be_huge(const struct fz_slot *slot, uint64_t page);
/* KVM has to see the guest's first write to each page. */
bool fz_is_logging(const struct fz_slot *slot);
/* Change the pages of the block around a page from one state to another. */
void fz_block_set(struct fz_slot *slot, uint64_t page, enum fz_map from,
		  enum fz_map to);
bool fz_block_has(const struct fz_slot *slot, uint64_t page, enum fz_map map);
/* All of the block is one mapping. */
void fz_block_huge(struct fz_slot *slot, uint64_t page);
/* The page is mapped, and all of the block may be one mapping. */
void fz_block_maybe_huge(struct fz_slot *slot, uint64_t page);
void fz_host_gone(uint64_t page, uint64_t npages);
void fz_host_maybe_gone(uint64_t page);
void fz_slot_gone(struct fz_slot *slot);
void fz_all_gone(void);
void fz_count(uint64_t *sure, uint64_t *maybe);

/* host.c */
void fz_host_init(void);
void fz_host_fill_holes(void);
void fz_host_change(void);
void fz_host_written(uint64_t page);

/* slots.c */
struct fz_slot *fz_random_slot(void);
uint64_t fz_gfn_of_page(uint64_t page);
/* Return 0 or an errno. */
int __fz_slot_set(const struct fz_slot *slot, uint64_t npages);
void fz_slot_set(const struct fz_slot *slot, uint64_t npages);
void fz_slot_deleted(struct fz_slot *slot);
void fz_slot_change(void);

/* vcpu.c */
void fz_vcpu_init(void);
void fz_vcpu_reset(void);
/* Have the guest touch a page of a slot, if it can, or any page. */
void fz_vcpu_touch_page(struct fz_slot *slot, uint64_t page);
void fz_vcpu_touch(void);
/* Touch a huge page of the host, or one that was mapped when dirty logging was enabled. */
void fz_vcpu_touch_huge(void);
/* Have breakpoints exit to userspace: KVM_GUESTDBG_* */
void fz_vcpu_debug(struct fz_vcpu *vcpu, uint32_t control);
/*
 * Run guest code that reads at @gpa, writes there if @write, and then has a breakpoint.
 * A write to a read-only slot has to exit as MMIO instead, and is not repeated.
 */
void fz_vcpu_run(struct fz_vcpu *vcpu, const struct fz_slot *slot, uint64_t gpa,
		 bool write);
/* Return 0 or an errno. */
int __fz_reg_set(struct fz_vcpu *vcpu, uint64_t id, uint64_t value);
void fz_reg_set(struct fz_vcpu *vcpu, uint64_t id, uint64_t value);
uint64_t fz_reg_get(struct fz_vcpu *vcpu, uint64_t id);
/* Registers must not change the mappings, whether KVM accepts them or not. */
void fz_regs_random(struct fz_vcpu *vcpu, const uint64_t *ids, unsigned int nr);

/* faults.c: for architectures where KVM has no statistic of what is mapped */
/* Count the guest's faults, those on the code only without a filter. */
void fz_faults_init(const char *filter);
uint64_t fz_nr_faults(void);
/*
 * Check the faults of one touch. A read faults if the page is not mapped. A write may
 * fault again, as dirty logging, copy-on-write, and a read-only slot need.
 */
void fz_check_faults(struct fz_slot *slot, uint64_t gpa, bool write, uint64_t faults);
/* Pre-fault pages, and return how many of them were not mapped. */
uint64_t fz_pre_fault_again(uint64_t gfn, uint64_t npages);
/* Pre-fault again what is mapped for sure: the model must not have missed a zap. */
void fz_check_mapped(void);

/* vm.c */
void fz_vm_init(void);
void fz_vm_renew(void);

/* call.c */
void fz_call_init(void);
void fz_call_random(struct fz_slot *near, bool signals);
/* Keep random calls from a page; -1 is none. */
void fz_call_forbid(uint64_t gpa);
/* Make a call that may fail with EAGAIN. Return true if it does. */
bool fz_call_may_be_eagain(struct fz_slot *slot);
void fz_call_report(void);
/* Check that every possible errno was returned, including EAGAIN if @eagain. */
bool fz_call_all_seen(bool eagain);
bool fz_call_exact_enough(void);

/* eagain.c */
void fz_eagain_init(void);
void fz_eagain_episode(void);
bool fz_eagain_possible(void);

/* ARCH/fuzz.c, or fuzz/arch.c for functions that an architecture does without */
void fz_arch_facts_init(void);
/* The argument of KVM_CREATE_VM */
unsigned long fz_arch_vm_type(void);
/* Set up a VM that has no vCPU and no memslot yet. */
void fz_arch_vm_init(void);
/* Write the guest's code, which is at FZ_CODE_GPA. */
void fz_arch_guest_code(void *page);
void fz_arch_vcpu_init(struct fz_vcpu *vcpu);
void fz_arch_vcpu_change(void);
/* fz_arch_guest_mapped() also predicts accesses to huge pages of the host. */
extern const bool fz_arch_touches_huge;
/*
 * Have the guest read a word of a page at @gpa, return it, and write @value there
 * if @value is not 0. In a read-only slot, the write must not succeed.
 */
uint32_t fz_arch_touch(struct fz_vcpu *vcpu, struct fz_slot *slot, uint64_t gpa,
		       uint32_t value);
/* Record that the guest has touched a page, which changed the mappings. */
void fz_arch_guest_mapped(struct fz_slot *slot, uint64_t page, bool write);
/* Return true if a pre-fault maps only 4K pages in the slot. */
bool fz_arch_maps_4k(const struct fz_slot *slot);
/* Return true if a pre-fault maps a huge page although a page table is in use. */
bool fz_arch_replaces_table(const struct fz_slot *slot, uint64_t page);
/* The result of KVM_SET_USER_MEMORY_REGION with the slot: 0 or an errno */
int fz_arch_slot_errno(const struct fz_slot *slot);
/* Record that dirty logging was enabled or disabled. */
void fz_arch_dirty_log_changed(struct fz_slot *slot);
/* Record that the slot was deleted or moved. Default: its own mappings are zapped. */
void fz_arch_slot_gone(struct fz_slot *slot);
/* Check what is mapped after a call. Change @want if KVM zapped its mappings. */
void fz_arch_check_mapped(struct fz_answer *want);

#endif /* SELFTEST_KVM_PRE_FAULT_FUZZ_H */
