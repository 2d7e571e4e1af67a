// SPDX-License-Identifier: GPL-2.0-only
/*
 * Compare the cost of KVM_PRE_FAULT_MEMORY with the faults that it saves: for each
 * type of host memory, the time per 4K page of
 *
 *  - the guest's first read of each page, without a pre-fault,
 *  - the pre-fault, in another VM and of memory made anew,
 *  - the guest's reads and writes after that, which must not fault any more.
 *
 * With several vCPUs, compare the time that they take to pre-fault the memory in
 * parallel with the time that one of them takes for all of it.
 *
 * The results are in ns.  They are instructions if the clock advances by 1 ns with
 * each one, as that of QEMU does with "-icount shift=0,sleep=off".
 */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/wait.h>

#include "pre_fault/pre_fault.h"

#define DEFAULT_BYTES		"64M"
#define MAX_ROUNDS		99
#define MAX_SIZES		32
/* The rest of a gigabyte, below the page that warms up the guest */
#define MAX_GUEST_BYTES		(WARM_GPA - TEST_GPA)

struct params {
	unsigned int nr_vcpus;
	unsigned int nr_rounds;
	bool overlap;
	bool guest;
	size_t size;
};

enum result {
	TOUCH,
	PRE_FAULT,
	READS,
	WRITES,
	ONE_VCPU = TOUCH,
	ALL_VCPUS,
	NR_RESULTS = WRITES + 1,
};

struct samples {
	double of[NR_RESULTS][MAX_ROUNDS];
	unsigned int rounds;
	uint64_t dirty;
};

static uint64_t range_gpa(size_t size)
{
	return size > MAX_GUEST_BYTES ? TEST_GPA + SZ_1G : TEST_GPA;
}

static void add_memory(struct kvm_vm *vm, const struct pf_memory_type *type, void *mem,
		       size_t size)
{
	vm_set_user_memory_region(vm, TEST_SLOT, type->slot_flags,
				  range_gpa(size), size, mem);
}

static void pre_fault(struct kvm_vcpu *vcpu, uint64_t gpa, uint64_t size)
{
	struct kvm_pre_fault_memory range = { .gpa = gpa, .size = size };
	int ret;

	while (range.size) {
		ret = pf_call(vcpu, &range);
		TEST_ASSERT(!ret || ret == EINTR || ret == EAGAIN,
			    "KVM_PRE_FAULT_MEMORY at %#llx: errno %d (%s)",
			    range.gpa, ret, strerror(ret));
	}
}

static double time_pre_fault(struct kvm_vcpu *vcpu, size_t size)
{
	double start = pf_now();

	pre_fault(vcpu, range_gpa(size), size);
	return pf_now() - start;
}

static uint64_t count_faults(struct kvm_vcpu *vcpu)
{
	return pf_stats(vcpu).taken;
}

/* The guest over all of its memory, and what @count says of that in @counted */
static double time_guest(struct kvm_vcpu *vcpu, enum pf_op op, size_t size,
			 uint64_t (*count)(struct kvm_vcpu *vcpu),
			 uint64_t *counted)
{
	double start, end;

	/* Its code, stack and page tables are not what is measured. */
	pf_guest(vcpu, op, WARM_GPA, 1, 0);

	*counted = count(vcpu);
	start = pf_now();
	pf_guest(vcpu, op, TEST_GPA, size / PAGE_SIZE, 0);
	end = pf_now();
	*counted = count(vcpu) - *counted;
	return end - start;
}

static double time_guest_after(struct kvm_vcpu *vcpu, enum pf_op op,
			       size_t size)
{
	uint64_t faults;
	double time = time_guest(vcpu, op, size, count_faults, &faults);

	/* Without Accessed bits KVM gets to know of a first access. */
	TEST_ASSERT(!faults || (op == PF_TOUCH && !pf_has_accessed_bit()),
		    "the guest took %lu stage-2 faults for %lu pages after the pre-fault",
		    faults, (unsigned long)(size / PAGE_SIZE));
	return time;
}

static uint64_t count_dirty(struct kvm_vm *vm, size_t size)
{
	uint64_t words = DIV_ROUND_UP(size / PAGE_SIZE, 64), dirty = 0, i;
	uint64_t *bitmap = calloc(words, sizeof(*bitmap));

	TEST_ASSERT(bitmap, "calloc() of %lu words", words);
	kvm_vm_get_dirty_log(vm, TEST_SLOT, bitmap);
	for (i = 0; i < words; i++)
		dirty += __builtin_popcountl(bitmap[i]);
	free(bitmap);
	return dirty;
}

/* Without a pre-fault; its faults are not counted where that has a price. */
static void measure_touch(const struct pf_memory_type *type, const struct params *p,
			  struct samples *s)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	void *mem = type->make(p->size, 1);
	uint64_t exits;

	add_memory(vcpu->vm, type, mem, p->size);
	s->of[TOUCH][s->rounds] = time_guest(vcpu, PF_TOUCH, p->size, pf_nr_exits,
					     &exits);
	TEST_ASSERT(exits > p->size / SZ_2M,
		    "%lu exits, fewer than the guest's stage-2 faults", exits);
	kvm_vm_free(vcpu->vm);
	munmap(mem, p->size);
}

static void measure_pre_fault(const struct pf_memory_type *type, const struct params *p,
			      struct samples *s)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	void *mem = type->make(p->size, 1);

	add_memory(vcpu->vm, type, mem, p->size);
	if (type->already_mapped)
		pre_fault(vcpu, range_gpa(p->size), p->size);
	s->of[PRE_FAULT][s->rounds] = time_pre_fault(vcpu, p->size);

	if (type->slot_flags & KVM_MEM_LOG_DIRTY_PAGES)
		s->dirty += count_dirty(vcpu->vm, p->size);
	if (p->guest)
		s->of[READS][s->rounds] = time_guest_after(vcpu, PF_TOUCH,
							   p->size);
	if (p->guest && type->writable)
		s->of[WRITES][s->rounds] = time_guest_after(vcpu, PF_DIRTY,
							    p->size);
	kvm_vm_free(vcpu->vm);
	munmap(mem, p->size);
}

struct worker {
	pthread_t thread;
	struct kvm_vcpu *vcpu;
	unsigned int *started;
	unsigned int nr_workers;
	unsigned int id;
	uint64_t gpa;
	uint64_t size;
	double start;
	double end;
};

/* A CPU for each worker, as far as there are enough that it may use */
static void pin(unsigned int id)
{
	cpu_set_t all, one;
	unsigned int cpu;

	TEST_ASSERT(!sched_getaffinity(0, sizeof(all), &all),
		    "sched_getaffinity()");
	id %= CPU_COUNT(&all);
	for (cpu = 0; !CPU_ISSET(cpu, &all) || id; cpu++)
		id -= !!CPU_ISSET(cpu, &all);
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	TEST_ASSERT(!sched_setaffinity(0, sizeof(one), &one),
		    "sched_setaffinity()");
}

static void *worker_fn(void *arg)
{
	struct worker *w = arg;

	pin(w->id);
	/* Spin: waking a thread takes longer than what is measured. */
	__atomic_add_fetch(w->started, 1, __ATOMIC_SEQ_CST);
	while (READ_ONCE(*w->started) < w->nr_workers)
		sched_yield();

	w->start = pf_now();
	pre_fault(w->vcpu, w->gpa, w->size);
	w->end = pf_now();
	return NULL;
}

/* From the first worker's start to the last one's end */
static double time_workers(struct kvm_vcpu *vcpus[], unsigned int nr,
			   const struct params *p)
{
	uint64_t part = p->overlap ? 0 : p->size / nr;
	unsigned int started = 0, i;
	double start = 0, end = 0;
	struct worker *w;

	w = calloc(nr, sizeof(*w));
	TEST_ASSERT(w, "calloc() of %u workers", nr);
	for (i = 0; i < nr; i++) {
		w[i] = (struct worker) {
			.vcpu = vcpus[i],
			.started = &started,
			.nr_workers = nr,
			.id = i,
			.gpa = range_gpa(p->size) + i * part,
			.size = part ?: p->size,
		};
		w[i].thread = pf_thread(worker_fn, &w[i]);
	}
	for (i = 0; i < nr; i++) {
		pf_join(w[i].thread);
		start = i ? min(start, w[i].start) : w[i].start;
		end = max(end, w[i].end);
	}
	free(w);
	return end - start;
}

static double measure_vcpus(const struct pf_memory_type *type, const struct params *p,
			    unsigned int nr_workers)
{
	struct kvm_vcpu *vcpus[KVM_MAX_VCPUS];
	void *mem = type->make(p->size, 1);
	struct kvm_vm *vm;
	double time;

	vm = vm_create_with_vcpus(p->nr_vcpus, pf_guest_main, vcpus);
	add_memory(vm, type, mem, p->size);
	if (type->already_mapped)
		pre_fault(vcpus[0], range_gpa(p->size), p->size);
	time = time_workers(vcpus, nr_workers, p);
	kvm_vm_free(vm);
	munmap(mem, p->size);
	return time;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(struct samples *s, enum result result)
{
	double *v = s->of[result];

	qsort(v, s->rounds, sizeof(*v), compare);
	return (v[s->rounds / 2] + v[(s->rounds - 1) / 2]) / 2;
}

/* Of the machine's lines: a dash for what was not measured */
static void print_field(double value)
{
	if (value)
		printf(",%.2f", value);
	else
		printf(",-");
}

static void report(const struct pf_memory_type *type, const struct params *p,
		   struct samples *s)
{
	double per_page = 1e9 / (p->size / PAGE_SIZE);
	double value[NR_RESULTS];
	unsigned int i;

	for (i = 0; i < NR_RESULTS; i++)
		value[i] = median(s, i) * per_page;

	printf("%s, %zuM: ", type->name, p->size >> 20);
	if (p->nr_vcpus > 1) {
		printf("one vCPU %.2f, %u vCPUs %.2f ns per 4K page, ratio %.3f\n",
		       value[ONE_VCPU], p->nr_vcpus, value[ALL_VCPUS],
		       value[ALL_VCPUS] / value[ONE_VCPU]);
		printf("vcpus,%s,%zu,%u,%s,%u,%.2f,%.2f,%.3f\n", type->name,
		       p->size, p->nr_vcpus,
		       p->overlap ? "overlapping" : "disjoint", p->nr_rounds,
		       value[ONE_VCPU], value[ALL_VCPUS],
		       value[ALL_VCPUS] / value[ONE_VCPU]);
		return;
	}

	printf("pre-fault %.2f", value[PRE_FAULT]);
	if (value[TOUCH])
		printf(", guest without %.2f", value[TOUCH]);
	if (value[READS])
		printf(", reads after %.2f", value[READS]);
	if (value[WRITES])
		printf(", writes after %.2f", value[WRITES]);
	printf(" ns per 4K page");
	if (type->slot_flags & KVM_MEM_LOG_DIRTY_PAGES)
		printf(", %lu pages reported dirty", s->dirty);
	printf("\npages,%s,%zu", type->name, p->size);
	for (i = 0; i < NR_RESULTS; i++)
		print_field(value[i]);
	printf(",%lu\n", s->dirty);
}

struct job {
	const struct pf_memory_type *type;
	const struct params *p;
};

static void measure(const void *arg)
{
	const struct job *job = arg;
	const struct pf_memory_type *type = job->type;
	const struct params *p = job->p;
	bool touch = p->nr_vcpus == 1 && p->guest && !type->already_mapped;
	static struct samples s;

	/* First of all, before anything counts faults: see there. */
	for (s.rounds = 0; touch && s.rounds < p->nr_rounds; s.rounds++)
		measure_touch(type, p, &s);
	for (s.rounds = 0; s.rounds < p->nr_rounds; s.rounds++) {
		if (p->nr_vcpus > 1) {
			s.of[ONE_VCPU][s.rounds] = measure_vcpus(type, p, 1);
			s.of[ALL_VCPUS][s.rounds] =
				measure_vcpus(type, p, p->nr_vcpus);
			continue;
		}
		measure_pre_fault(type, p, &s);
	}
	report(type, p, &s);
}

/* In a process of its own, so that none finds what another one left. */
static int measure_in_child(const struct pf_memory_type *type, const struct params *p)
{
	int status = pf_in_child(measure, &(struct job){ type, p });

	if (!status)
		return KSFT_PASS;
	if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP) {
		printf("%s, %zuM: skipped\n", type->name, p->size >> 20);
		return KSFT_SKIP;
	}
	printf("%s, %zuM: failed (status %#x)\n", type->name, p->size >> 20,
	       status);
	return KSFT_FAIL;
}

/* Mark the types in a list, separated by commas. */
static void parse_types(char *list, bool *wanted)
{
	unsigned int i;
	char *name;

	for (name = strtok(list, ","); name; name = strtok(NULL, ",")) {
		for (i = 0; i < NR_PF_MEMORY; i++)
			if (!strcmp(name, pf_memory_types[i].name))
				break;
		TEST_ASSERT(i < NR_PF_MEMORY,
			    "-s %s: no such type of memory (-h lists them)",
			    name);
		wanted[i] = true;
	}
}

static unsigned int parse_sizes(char *list, size_t *sizes)
{
	unsigned int nr = 0;
	char *size;

	for (size = strtok(list, ","); size; size = strtok(NULL, ",")) {
		TEST_ASSERT(nr < MAX_SIZES, "-b: more than %u sizes", MAX_SIZES);
		sizes[nr] = parse_size(size);
		TEST_ASSERT(sizes[nr] && !(sizes[nr] % SZ_2M),
			    "-b %s: not a multiple of 2M", size);
		nr++;
	}
	return nr;
}

static void help(char *name)
{
	unsigned int i;

	puts("");
	printf("usage: %s [-h] [-b vcpu bytes] [-g] [-n rounds]\n"
	       "       [-p partition] [-s mem type] [-v vcpus]\n", name);
	puts("");
	printf(" -b: specify the size of the memory per vCPU, a multiple of 2M,\n"
	       "     e.g. 64M or 3G. Several, separated by commas, are measured\n"
	       "     one after the other. (default: %s)\n", DEFAULT_BYTES);
	printf(" -g: leave out the guest, and measure the pre-fault alone. Needed\n"
	       "     for more than %lluM.\n", MAX_GUEST_BYTES >> 20);
	printf(" -n: specify how often to measure; the median is reported.\n"
	       "     (default: 1)\n");
	printf(" -p: specify what each of several vCPUs pre-faults: its part of\n"
	       "     the memory (disjoint, the default) or all (overlapping).\n");
	printf(" -s: specify the types of memory, separated by commas.\n"
	       "     (default: those with a *)\n");
	for (i = 0; i < NR_PF_MEMORY; i++)
		printf("       %c %-14s %s\n", pf_memory_types[i].measured ? '*' : ' ',
		       pf_memory_types[i].name, pf_memory_types[i].help);
	printf(" -v: specify the number of vCPUs to pre-fault with. With more\n"
	       "     than one, the time of all of them is compared to that of\n"
	       "     one which does all the work.\n");
	puts("");
	printf("Lines for machines: pages,TYPE,BYTES,guest without,pre-fault,reads after,\n"
	       "writes after,pages reported dirty, and vcpus,TYPE,BYTES,VCPUS,PARTITION,\n"
	       "ROUNDS,one vCPU,all vCPUs,ratio. Times are in ns per 4K page.\n");
	puts("");
	exit(0);
}

int main(int argc, char *argv[])
{
	int max_vcpus = min_t(int, kvm_check_cap(KVM_CAP_MAX_VCPUS),
			       KVM_MAX_VCPUS);
	struct params p = {
		.nr_vcpus = 1,
		.nr_rounds = 1,
		.guest = true,
	};
	unsigned int nr_sizes, i, j, measured = 0, failed = 0;
	char default_bytes[] = DEFAULT_BYTES, *bytes = default_bytes;
	bool all = true, wanted[NR_PF_MEMORY] = {};
	size_t sizes[MAX_SIZES];
	int opt;

	while ((opt = getopt(argc, argv, "b:ghn:p:s:v:")) != -1) {
		switch (opt) {
		case 'b':
			bytes = optarg;
			break;
		case 'g':
			p.guest = false;
			break;
		case 'n':
			p.nr_rounds = atoi(optarg);
			TEST_ASSERT(p.nr_rounds > 0 &&
				    p.nr_rounds <= MAX_ROUNDS,
				    "Invalid number of rounds, must be between 1 and %d",
				    MAX_ROUNDS);
			break;
		case 'p':
			p.overlap = !strcmp(optarg, "overlapping");
			TEST_ASSERT(p.overlap || !strcmp(optarg, "disjoint"),
				    "Invalid partition, must be disjoint or overlapping");
			break;
		case 's':
			parse_types(optarg, wanted);
			all = false;
			break;
		case 'v':
			p.nr_vcpus = atoi(optarg);
			TEST_ASSERT(p.nr_vcpus > 0 && p.nr_vcpus <= max_vcpus,
				    "Invalid number of vcpus, must be between 1 and %d",
				    max_vcpus);
			break;
		case 'h':
		default:
			help(argv[0]);
			break;
		}
	}
	nr_sizes = parse_sizes(bytes, sizes);

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY));
	TEST_REQUIRE(!pf_shadow_paging());

	for (i = 0; i < NR_PF_MEMORY; i++) {
		wanted[i] |= all && pf_memory_types[i].measured;
		for (j = 0; wanted[i] && j < nr_sizes; j++) {
			p.size = sizes[j] * p.nr_vcpus;
			TEST_ASSERT(!p.guest || p.nr_vcpus > 1 ||
				    p.size <= MAX_GUEST_BYTES,
				    "The guest sees no more than %lluM, -g leaves it out",
				    MAX_GUEST_BYTES >> 20);
			switch (measure_in_child(&pf_memory_types[i], &p)) {
			case KSFT_PASS:
				measured++;
				break;
			case KSFT_FAIL:
				failed++;
				break;
			}
		}
	}

	if (failed)
		return KSFT_FAIL;
	return measured ? KSFT_PASS : KSFT_SKIP;
}
