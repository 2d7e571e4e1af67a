// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM under stress: its memory, its memslots, and the threads that use it or
 * disturb it.
 */
#define _GNU_SOURCE
#include <time.h>

#include "stress.h"

#define FILE_VERSION	0

static uint64_t place_gpa(unsigned int area, unsigned int place)
{
	return TEST_GPA + place * PLACE_STRIDE + area * AREA_STRIDE;
}

static void buffer_make(struct area *area, unsigned int buf)
{
	size_t size = stress.npages * PAGE_SIZE;
	struct buffer *b = &area->bufs[buf];
	unsigned int i;

	b->fd = -1;
	b->pages = calloc(stress.npages, sizeof(*b->pages));
	TEST_ASSERT(b->pages, "calloc()");

	if (area->type == TYPE_MEMFD || area->type == TYPE_FILE)
		b->fd = pf_memfd(size);

	if (area->type == TYPE_FILE) {
		b->mem = pf_map_memory(PF_MEMFD, NULL, size, b->fd, 0);
		for (i = 0; i < stress.npages; i++)
			page_store(area, buf, i, FILE_VERSION);
		munmap(b->mem, size);
	}

	b->mem = pf_map_memory(stress_types[area->type], NULL, size, b->fd, 0);
}

__weak bool arch_refuses_slot(int err)
{
	return false;
}

void area_set_slot(struct area *area, uint64_t gpa, unsigned int buf,
		   uint32_t flags, bool present)
{
	const uint64_t size = present ? stress.npages * PAGE_SIZE : 0;

	while (__vm_set_user_memory_region(stress.vm, area->slot, flags, gpa, size,
					   area->bufs[buf].mem)) {
		TEST_ASSERT(arch_refuses_slot(errno), "slot %u: errno %d (%s)",
			    area->slot, errno, strerror(errno));
		sched_yield();
	}
}

static void area_make(struct area *area, unsigned int i, enum type type)
{
	size_t size = stress.npages * PAGE_SIZE;
	unsigned int buf;

	area->type = type;
	area->slot = FIRST_SLOT + i;
	area->gpa = place_gpa(i, 0);
	area->period = 1;
	area->dirty = calloc(stress.npages, sizeof(*area->dirty));
	TEST_ASSERT(area->dirty, "calloc()");
	pthread_mutex_init(&area->mutex, NULL);

	for (buf = 0; buf < NR_BUFS; buf++)
		buffer_make(area, buf);
	area_set_slot(area, area->gpa, 0, 0, true);

	virt_map(stress.vm, area->gpa, area->gpa, stress.npages);
	pf_arch_map(stress.vm, place_gpa(i, 1),
		    align_ptr_up((void *)size, SZ_2M) - NULL);
}

void rnd_seed(struct worker *w, uint64_t seed)
{
	w->random.state = seed * 0x9e3779b97f4a7c15ul + w->id + 1;
	rnd(w);
	rnd(w);
}

/* splitmix64 */
uint64_t rnd(struct worker *w)
{
	uint64_t x = w->random.state += 0x9e3779b97f4a7c15ul;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ul;
	x = (x ^ x >> 27) * 0x94d049bb133111ebul;
	return x ^ x >> 31;
}

unsigned int rnd_below(struct worker *w, unsigned int limit)
{
	return rnd(w) % limit;
}

bool rnd_one_in(struct worker *w, unsigned int n)
{
	return !rnd_below(w, n);
}

/* Sleep for a random time, mostly short and at most @max_usecs. */
void rnd_sleep(struct worker *w, unsigned int max_usecs)
{
	unsigned int usecs = rnd_below(w, max_usecs + 1) >> rnd_below(w, 6);

	if (usecs)
		usleep(usecs);
	else
		sched_yield();
}

/*
 * The same for a thread that disturbs all vCPUs: also wait until one of them has made
 * progress, or on a slow machine none ever does.
 */
void pace(struct worker *w, unsigned int max_usecs)
{
	double end = pf_now() + 1;
	unsigned long sum;
	unsigned int i;

	rnd_sleep(w, max_usecs);
	do {
		for (sum = 0, i = 0; i < stress.nr_vcpus; i++)
			sum += READ_ONCE(stress.workers[i].progress);
		if (sum != w->paced)
			break;
		usleep(500);
	} while (pf_now() < end && !stopping());
	w->paced = sum;
}

enum op choose_op(struct worker *w, const enum op *ops)
{
	unsigned int nr, wanted = 0, n;

	for (nr = 0; ops[nr] != NR_OPS; nr++)
		wanted += stress.enabled[ops[nr]];
	if (!wanted)
		return NR_OPS;

	n = rnd_below(w, wanted);
	for (nr = 0; !stress.enabled[ops[nr]] || n--; nr++)
		;
	return ops[nr];
}

void note(struct history *h, struct worker *w, enum op op, uint32_t version)
{
	uint32_t nr = __atomic_fetch_add(&h->nr, 1, __ATOMIC_RELAXED);
	struct timespec now;

	/* The coarse clock needs no system call. */
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	h->events[nr % NR_HISTORY] = (struct event) {
		.when = now.tv_sec + now.tv_nsec / 1e9 - stress.start,
		.version = version,
		.op = op,
		.worker = w->id,
	};
}

void op_missing(enum op op, const char *why)
{
	stress.shared->missing[op] = why;
	stress.enabled[op] = false;
}

static void *worker_fn(void *arg)
{
	struct worker *w = arg;

	WRITE_ONCE(w->tid, pf_gettid());
	w->fn(w);
	WRITE_ONCE(w->done, true);
	return NULL;
}

struct worker *add_worker(const char *name, void (*fn)(struct worker *w))
{
	struct worker *w = &stress.workers[stress.nr_workers];

	TEST_ASSERT(stress.nr_workers < MAX_WORKERS, "too many threads");
	w->id = stress.nr_workers++;
	w->name = name;
	w->fn = fn;
	rnd_seed(w, stress.seed + stress.tag);
	return w;
}

void vm_make(void)
{
	struct kvm_vcpu *vcpus[MAX_VCPUS];
	unsigned int i;

	stress.vm = vm_create_with_vcpus(stress.nr_vcpus, guest_main, vcpus);
	vm_arch_make(stress.vm);

	stress.areas = calloc(NR_TYPES, sizeof(*stress.areas));
	TEST_ASSERT(stress.areas, "calloc()");
	for (i = 0; i < NR_TYPES; i++) {
		if (!stress.types[i])
			continue;
		area_make(&stress.areas[stress.nr_areas], stress.nr_areas, i);
		stress.nr_areas++;
	}

	for (i = 0; i < stress.nr_vcpus; i++) {
		struct worker *w = add_worker("vCPU", vcpu_main);
		gva_t block = vm_alloc_page(stress.vm);

		w->vcpu = vcpus[i];
		w->block = addr_gva2hva(stress.vm, block);
		vcpu_arch_make(vcpus[i]);
		vcpu_args_set(vcpus[i], 1, block);
	}
}

/* Return true if one of @ops is enabled. */
static bool any(const enum op *ops)
{
	for (; *ops != NR_OPS; ops++)
		if (stress.enabled[*ops])
			return true;
	return false;
}

static const enum op uffd_ops[] = { OP_UFFD_WP, NR_OPS };

static const enum op dirty_ops[] = { OP_DIRTY, NR_OPS };

static const enum op nx_ops[] = { OP_NX, NR_OPS };

static const enum op signal_ops[] = { OP_SIGNAL, NR_OPS };

static const struct {
	const char *name;
	void (*fn)(struct worker *w);
	const enum op *ops;
	/* Not in the VMs that get killed */
	bool once;
} disturbers[] = {
	{ "memory 1",	mm_main,	mm_ops,		false },
	{ "memory 2",	mm_main,	mm_ops,		true },
	{ "process",	whole_mm_main,	whole_mm_ops,	true },
	{ "userfaultfd", uffd_main,	uffd_ops,	true },
	{ "slots",	slots_main,	slot_ops,	false },
	{ "dirty log",	dirty_main,	dirty_ops,	false },
	{ "nx",		nx_main,	nx_ops,		true },
	{ "signals",	signals_main,	signal_ops,	true },
};

/* Create a VM and start all threads. The caller watches them. */
void run_vm(void)
{
	unsigned int i;

	stress.start = pf_now();
	vm_make();
	for (i = 0; i < ARRAY_SIZE(disturbers); i++) {
		if (any(disturbers[i].ops) &&
		    !(stress.child && disturbers[i].once))
			add_worker(disturbers[i].name, disturbers[i].fn);
	}

	/* Start the threads last, when everything that they use exists. */
	for (i = 0; i < stress.nr_workers; i++)
		stress.workers[i].thread = pf_thread(worker_fn,
						     &stress.workers[i]);
}
