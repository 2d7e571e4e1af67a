/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared by the parts of pre_fault_stress_test.
 *
 * A VM has areas of guest memory, one for each type of host memory, each in its own
 * memslot. An area has two buffers of host memory, one of which is in the slot.
 * Every page of a buffer has a history of versions, and carries the number of its
 * version. oracle.c has the rules which versions a read may return.
 */
#ifndef SELFTEST_KVM_PRE_FAULT_STRESS_H
#define SELFTEST_KVM_PRE_FAULT_STRESS_H

#include "../pre_fault.h"

#define NR_BUFS		2
/* userfaultfd and KSM split the mapping of this buffer, so mremap() skips it. */
#define DIVIDED_BUF	1
#define NR_PLACES	2
#define NR_WORDS	2
#define MAX_VCPUS	8
#define MAX_WORKERS	(MAX_VCPUS + 16)
#define MAX_PAGES	1024
#define NR_HISTORY	12
#define FIRST_SLOT	10

/* An area may be in one of two places, which the guest maps with 4K and 2M. */
#define AREA_STRIDE	(4 * SZ_2M)
#define PLACE_STRIDE	(SZ_1G / 2)

enum type {
	TYPE_ANON,
	TYPE_THP,
	TYPE_MEMFD,
	TYPE_FILE,	/* private, over the page cache */
	NR_TYPES,
};

extern const enum pf_memory stress_types[NR_TYPES];

static inline const char *type_name(unsigned int type)
{
	return pf_memory_types[stress_types[type]].name;
}

/* The results of the test */
enum verdict {
	V_PAGES,
	V_DIRTY,
	V_CALLS,
	V_VCPUS,
	V_STUCK,
	V_OPS,
	NR_VERDICTS,
};

enum op {
	OP_WRITE,
	OP_DONTNEED,
	OP_REMOVE,
	OP_FREE,
	OP_PROTECT,
	OP_MREMAP,
	OP_RENEW,
	OP_ZERO,
	OP_GUARD,
	OP_FORK,
	OP_COLLAPSE,
	OP_PAGEOUT,
	OP_COLD,
	OP_POPULATE,
	OP_KSM,
	OP_SOFT_DIRTY,
	OP_OFFLINE,
	OP_MOVE_PAGES,
	OP_COMPACT,
	OP_IDLE,
	OP_UFFD_WP,
	OP_DELETE,
	OP_SWITCH,
	OP_MOVE,
	OP_READONLY,
	OP_DIRTY,
	OP_DIRTY_LOG,
	OP_NX,
	OP_SIGNAL,
	OP_KILL,
	OP_CLOSE,
	NR_OPS,
	/* The vCPUs' own; only the first can be left out. */
	OP_PREFAULT = NR_OPS,
	OP_GUEST_READ,
	OP_GUEST_WRITE,
	NR_ALL_OPS,
};

/* An entry in the history of a page or an area */
struct event {
	double when;
	uint32_t version;
	uint8_t op;
	uint8_t worker;
};

struct history {
	uint32_t nr;
	struct event events[NR_HISTORY];
};

struct page {
	bool lock;
	/* A read that begins now finds this version, or a newer one. */
	uint32_t floor;
	/* The newest version, which may still be incomplete */
	uint32_t newest;
	/* The newest version without contents: zeros, or the file's contents */
	uint32_t blank;
	/* Count each time that the host loses access to the page, and gets it back. */
	uint32_t bad_begin;
	uint32_t bad_end;
	/* A write has to be seen by userfaultfd. */
	bool write_protected;
	uint32_t soft_dirty_seq;
	struct history history;
};

/* A page of a memslot, for the dirty log; the numbers count reads of the log. */
struct dirty {
	/* Running accesses of the guest, and the last read of the log before them */
	unsigned int active;
	uint32_t last;
	/* A write has to be in this log or in a later one... */
	uint32_t due;
	/* ...of this period of logging. */
	uint32_t period;
	uint32_t seen;
};

struct buffer {
	void *mem;
	int fd;
	struct page *pages;
};

struct area {
	enum type type;
	unsigned int slot;
	struct buffer bufs[NR_BUFS];
	struct dirty *dirty;

	/* Taken to change the memslot */
	pthread_mutex_t mutex;
	/* Odd while the memslot is deleted, created or moved */
	uint32_t seq;
	/* The vCPUs whose guest writes here; @no_writers asks them to stop. */
	unsigned int writers;
	bool no_writers;
	unsigned int cur;
	uint64_t gpa;
	uint32_t flags;
	/* Odd while not logging, and while that changes */
	uint32_t period;
	uint32_t log_begun;
	uint32_t log_done;
	struct history history;
};

/* The state before a page is read */
struct window {
	uint32_t seq;
	unsigned int cur;
	uint64_t gpa;
	uint32_t flags;
	uint32_t floor[NR_BUFS];
	uint32_t bad_end[NR_BUFS];
};

struct guest_block;

struct worker {
	const char *name;
	void (*fn)(struct worker *w);
	unsigned int id;
	pthread_t thread;
	pid_t tid;
	struct random {
		uint64_t state;
	} random;
	unsigned long progress;
	/* The vCPUs' progress at this thread's last disturbance */
	unsigned long paced;
	bool done;
	/* The watchdog asks for the vCPU's registers. */
	bool dump;
	/* Of a vCPU */
	struct kvm_vcpu *vcpu;
	struct guest_block *block;
	uint64_t pc;
	uint32_t block_seq;
};

/* Options, and what is shared with the VMs in other processes */
struct stress {
	unsigned int seconds;
	uint64_t seed;
	unsigned int nr_vcpus;
	unsigned int npages;
	unsigned int watchdog;
	/* Loops of the guest over its pages without an exit to userspace */
	unsigned int repeat;
	bool no_pre_fault;
	bool types[NR_TYPES];
	bool enabled[NR_ALL_OPS];

	struct shared {
		unsigned long done[NR_ALL_OPS];
		const char *missing[NR_ALL_OPS];
		unsigned long guest_loops;
		unsigned long pages_pre_faulted;
		unsigned long errors[256];
		unsigned long mmio;
		bool failed[NR_VERDICTS];
		bool child_runs;
		bool stop;
	} *shared;

	/* Of this process */
	double start;
	unsigned int tag;
	bool child;
	/* The vCPUs' file descriptors may be gone. */
	bool closing;
	bool stop;
	struct kvm_vm *vm;
	struct area *areas;
	unsigned int nr_areas;
	struct worker workers[MAX_WORKERS];
	unsigned int nr_workers;
};

extern struct stress stress;
extern const char * const op_names[NR_ALL_OPS];

/* Numbers that only depend on the seed and on the thread */
uint64_t rnd(struct worker *w);
unsigned int rnd_below(struct worker *w, unsigned int limit);
bool rnd_one_in(struct worker *w, unsigned int n);
void rnd_seed(struct worker *w, uint64_t seed);
void rnd_sleep(struct worker *w, unsigned int max_usecs);
void pace(struct worker *w, unsigned int max_usecs);

static inline bool stopping(void)
{
	return __atomic_load_n(&stress.stop, __ATOMIC_RELAXED) ||
	       __atomic_load_n(&stress.shared->stop, __ATOMIC_RELAXED);
}

static inline void did(struct worker *w, enum op op)
{
	__atomic_add_fetch(&stress.shared->done[op], 1, __ATOMIC_RELAXED);
	w->progress++;
}

static inline void count(unsigned long *counter, unsigned long n)
{
	__atomic_add_fetch(counter, n, __ATOMIC_RELAXED);
}

/* The kernel lacks the operation: do not fail because it never happened. */
void op_missing(enum op op, const char *why);
void stress_fail(enum verdict v, const struct area *area, unsigned int page,
		 const char *fmt, ...) __printf(4, 5);
struct worker *add_worker(const char *name, void (*fn)(struct worker *w));
void note(struct history *h, struct worker *w, enum op op, uint32_t version);

/* Pages of a buffer */
struct range {
	struct area *area;
	unsigned int buf;
	unsigned int first;
	unsigned int nr;
	void *mem;
	size_t size;
};

/* mm.c */
struct range choose_range(struct worker *w);

static inline struct page *range_page(struct range *r, unsigned int i)
{
	return &r->area->bufs[r->buf].pages[r->first + i];
}

/* oracle.c */
uint64_t page_word(const struct area *area, unsigned int buf, unsigned int page,
		   uint32_t version, unsigned int word);
bool page_trylock(struct page *p);
void page_lock(struct page *p);
void page_unlock(struct page *p);
uint32_t page_begin(struct page *p);
void page_end(struct page *p, uint32_t version);
void page_store(struct area *area, unsigned int buf, unsigned int page,
		uint32_t version);
void page_check(struct area *area, unsigned int buf, unsigned int page);
void window_open(struct area *area, unsigned int page, struct window *w);
bool window_stable(struct area *area, const struct window *w);
bool window_was_bad(struct area *area, unsigned int page,
		    const struct window *w);
bool window_allows_buf(struct area *area, unsigned int buf, unsigned int page,
		       const struct window *w, unsigned int word,
		       uint64_t value);
void window_check(struct area *area, unsigned int page, const struct window *w,
		  unsigned int word, uint64_t value);

/* track.c */
void track_begin(struct page *p);
void track_end(struct worker *w, struct area *area, unsigned int buf,
	       unsigned int page);
void op_soft_dirty(struct worker *w);
void op_ksm(struct worker *w);

/* vm.c, vcpu.c */
void vm_make(void);
void guest_main(struct guest_block *block);
void vcpu_main(struct worker *w);
void area_set_slot(struct area *area, uint64_t gpa, unsigned int buf,
		   uint32_t flags, bool present);

/* Provided by each architecture's own stress.c */
void vm_arch_make(struct kvm_vm *vm);
void vcpu_arch_make(struct kvm_vcpu *vcpu);
/* In the guest: exit for the next orders */
void guest_stop(void);
/* Return true if guest_stop() was the exit; @pc is 0 if the vCPU was closed. */
bool vcpu_stopped(struct kvm_vcpu *vcpu, uint64_t *pc);
/* Print its registers. */
void print_vcpu(struct kvm_vcpu *vcpu);
/* Return true if KVM may refuse a memslot for what another thread does; default: no. */
bool arch_refuses_slot(int err);

/* Workers, and the operations that some choose from */
extern const enum op mm_ops[];
extern const enum op whole_mm_ops[];
extern const enum op slot_ops[];
void mm_main(struct worker *w);
void whole_mm_main(struct worker *w);
void uffd_main(struct worker *w);
void slots_main(struct worker *w);
void dirty_main(struct worker *w);
void signals_main(struct worker *w);
void nx_main(struct worker *w);
pid_t killer_start(void);
void run_vm(void);

/* Choose an enabled one of @ops, which NR_OPS ends; NR_OPS if none is enabled. */
enum op choose_op(struct worker *w, const enum op *ops);

#endif /* SELFTEST_KVM_PRE_FAULT_STRESS_H */
