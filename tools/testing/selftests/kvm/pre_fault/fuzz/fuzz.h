/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fuzzer of KVM_PRE_FAULT_MEMORY: host memory, memslots, vCPUs, and the model's
 * state of them.
 *
 * A file calls only functions of the files before it: util, model, host, slots, vcpu,
 * vm, call, eagain, pre_fault_fuzz_test. The functions below are in that order.
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
	bool invalid;		/* is being deleted */
	bool apic_access;
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
	FZ_RAW,		/* is never run, and has random state */
	FZ_BLOCKER,	/* sleeps in a userfaultfd */
	FZ_NR_VCPUS,
};

struct fz_vcpu {
	int fd;
	int stats_fd;
	struct kvm_run *run;
	uint8_t as;
	bool nested;
	uint64_t prefaulted;
};

struct fz_vm {
	int fd;
	int stats_fd;
	bool irqchip;
	bool apicv;
	struct fz_vcpu vcpus[FZ_NR_VCPUS];
	struct fz_slot slots[FZ_NR_SLOTS];
	uint64_t recycled;
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

/* Facts about this machine */
struct fz_facts {
	bool tdp_mmu;
	bool amd;
	bool svm;
	bool smm;
	bool eager_split;
	bool flexpriority;
	bool apicv;
	bool unrestricted;
	unsigned int phys_bits;
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
void fz_guest_mapped(struct fz_slot *slot, uint64_t page);
void fz_host_gone(uint64_t page, uint64_t npages);
void fz_host_maybe_gone(uint64_t page);
void fz_all_gone(void);
void fz_recycled(void);
void fz_dirty_log_on(struct fz_slot *slot);
void fz_dirty_log_off(struct fz_slot *slot);
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
void fz_vcpu_change(void);

/* vm.c */
void fz_facts_init(void);
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

#endif /* SELFTEST_KVM_PRE_FAULT_FUZZ_H */
