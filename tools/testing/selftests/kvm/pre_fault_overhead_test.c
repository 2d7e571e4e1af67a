// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measure the overhead for a guest that does not use KVM_PRE_FAULT_MEMORY, to compare
 * a kernel that has the ioctl with one that does not: the time of
 *
 *  - a stage-2 fault, for each type of host memory, on the guest's first read
 *    of a page and on its first write after that,
 *  - an exit that is handled in the kernel, and a KVM_RUN.
 *
 * The results are in ns.  They are instructions if the clock advances by 1 ns with
 * each one, as that of QEMU does with "-icount shift=0,sleep=off".
 */
#include <sys/wait.h>

#include "pre_fault/pre_fault.h"

#define DEFAULT_BYTES		"8M"
#define NR_ROUNDS		3
#define NR_EXITS		10000
#define NR_WARM_UP		100

/* The shortest one: no timer tick in it, or the fewest */
struct overhead {
	double time;
	uint64_t events;
};

/* Of the guest, in bytes */
static size_t mem_size;

static void add_round(struct overhead *overhead, double time, uint64_t events)
{
	if (!events || (overhead->events && overhead->time <= time))
		return;
	overhead->time = time;
	overhead->events = events;
}

static void report(const char *what, const char *name, struct overhead *overhead)
{
	if (overhead->events)
		printf("overhead,%s,%s,%lu,%.2f\n", what, name, overhead->events,
		       overhead->time * 1e9 / overhead->events);
}

static double time_guest(struct kvm_vcpu *vcpu, enum pf_op op, size_t size)
{
	double start;

	/* Its code, stack and page tables are not what is measured. */
	pf_guest(vcpu, op, WARM_GPA, 1, 0);

	start = pf_now();
	pf_guest(vcpu, op, TEST_GPA, size / PAGE_SIZE, 0);
	return pf_now() - start;
}

/* Over all of it twice: what the second time costs, faults did not. */
static void measure_pass(struct kvm_vcpu *vcpu, enum pf_op op, size_t size,
			 struct overhead *overhead)
{
	struct pf_stats before = pf_stats(vcpu);
	double first = time_guest(vcpu, op, size);
	uint64_t faults = pf_stats_since(vcpu, &before).taken;

	add_round(overhead, first - time_guest(vcpu, op, size), faults);
}

static void measure_faults(const void *arg)
{
	const struct pf_memory_type *type = arg;
	struct overhead reads = {}, writes = {};
	struct kvm_vcpu *vcpu;
	unsigned int i;
	void *mem;

	for (i = 0; i < NR_ROUNDS; i++) {
		vcpu = pf_guest_vcpu();
		mem = type->make(mem_size, 1);
		vm_set_user_memory_region(vcpu->vm, TEST_SLOT, type->slot_flags,
					  TEST_GPA, mem_size, mem);
		measure_pass(vcpu, PF_TOUCH, mem_size, &reads);
		measure_pass(vcpu, PF_DIRTY, mem_size, &writes);
		kvm_vm_free(vcpu->vm);
		munmap(mem, mem_size);
	}
	TEST_ASSERT(reads.events, "the guest took no stage-2 fault");
	report("read", type->name, &reads);
	/* More than those of the page tables */
	if (writes.events > mem_size / SZ_2M)
		report("write", type->name, &writes);
}

/* In the guest: @once again and again, and an exit that tells of @nr times. */
static void guest_exits(void (*once)(void), uint64_t nr)
{
	uint64_t i;

	for (;;) {
		for (i = 0; i < nr; i++)
			once();
		GUEST_SYNC(0);
	}
}

static double time_runs(struct kvm_vcpu *vcpu, uint32_t reason, unsigned int nr)
{
	double start = pf_now();
	unsigned int i;

	for (i = 0; i < nr; i++) {
		vcpu_run(vcpu);
		TEST_ASSERT(reason ? vcpu->run->exit_reason == reason :
				     get_ucall(vcpu, NULL) == UCALL_SYNC,
			    "exit reason %d (%s)", vcpu->run->exit_reason,
			    exit_reason_str(vcpu->run->exit_reason));
	}
	return pf_now() - start;
}

/* Exits to userspace are one for each run, the others NR_EXITS. */
static void measure_exits(const void *arg)
{
	const struct pf_exit *type = arg;
	unsigned int runs = type->reason ? NR_EXITS : 1, i;
	struct kvm_vcpu *vcpu;
	struct overhead overhead = {};
	struct kvm_vm *vm;

	vm = vm_create_with_one_vcpu(&vcpu, guest_exits);
	virt_map(vm, PF_MMIO_GPA, PF_MMIO_GPA, 1);
	vcpu_args_set(vcpu, 2, type->once, type->reason ? ~0ul : NR_EXITS);
	time_runs(vcpu, type->reason, type->reason ? NR_WARM_UP : 1);
	for (i = 0; i < NR_ROUNDS; i++)
		add_round(&overhead, time_runs(vcpu, type->reason, runs), NR_EXITS);
	report("exit", type->name, &overhead);
	kvm_vm_free(vm);
}

/* In a process of its own, so that none finds what another one left. */
static bool in_child(void (*fn)(const void *arg), const void *arg)
{
	int status = pf_in_child(fn, arg);

	return !status || (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP);
}

static void help(char *name)
{
	printf("usage: %s [-h] [-b bytes]\n\n"
	       " -b: specify the size of the guest's memory, a multiple of 2M.\n"
	       "     (default: %s)\n\n"
	       "Lines for machines: overhead,read|write,TYPE,FAULTS,ns per fault and\n"
	       "overhead,exit,TYPE,EXITS,ns per exit.\n", name, DEFAULT_BYTES);
	exit(0);
}

int main(int argc, char *argv[])
{
	bool good = true;
	unsigned int i;
	int opt;

	mem_size = parse_size(DEFAULT_BYTES);
	while ((opt = getopt(argc, argv, "b:h")) != -1) {
		switch (opt) {
		case 'b':
			mem_size = parse_size(optarg);
			break;
		case 'h':
		default:
			help(argv[0]);
			break;
		}
	}
	TEST_ASSERT(mem_size && !(mem_size % SZ_2M) && mem_size <= WARM_GPA - TEST_GPA,
		    "Invalid size, must be a multiple of 2M below 1G");

	for (i = 0; pf_exits[i].name; i++)
		good &= in_child(measure_exits, &pf_exits[i]);
	for (i = 0; i < NR_PF_MEMORY; i++)
		if (pf_memory_types[i].measured &&
		    !pf_memory_types[i].already_mapped)
			good &= in_child(measure_faults, &pf_memory_types[i]);

	return good ? KSFT_PASS : KSFT_FAIL;
}
