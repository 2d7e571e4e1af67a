// SPDX-License-Identifier: GPL-2.0-only
/* Measure one pass of a guest over all of its memory, in a VM of its own. */
#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "pre_fault.h"

/* The calls per vCPU: the progress bar moves once for each */
#define CHUNKS	16

struct step;
typedef int (*step_fn)(struct step *step);

struct step {
	struct vcpu *vcpu;
	step_fn fn;
	unsigned int chunk;
	struct counter counter;
	uint64_t start;
	uint64_t end;
	pthread_t thread;
	int ret;
};

static int mark(struct step *step, uint64_t *value)
{
	if (!counter_read(&step->counter, value))
		return 0;
	warn("cannot read the instruction counter");
	return -1;
}

static uint64_t chunk_size(const struct vcpu *vcpu)
{
	uint64_t size = (vcpu->size + CHUNKS - 1) / CHUNKS;
	uint64_t unit = size > SZ_2M / 2 ? SZ_2M : SZ_4K;

	return (size + unit - 1) / unit * unit;
}

static int step_pre_fault(struct step *step)
{
	struct vcpu *vcpu = step->vcpu;
	uint64_t size = chunk_size(vcpu);
	uint64_t offset = step->chunk * size;
	int ret;

	if (offset >= vcpu->size)
		size = 0;
	else if (size > vcpu->size - offset)
		size = vcpu->size - offset;

	if (mark(step, &step->start))
		return -1;
	ret = vcpu_pre_fault(vcpu, vcpu->gpa + offset, size);
	if (mark(step, &step->end))
		return -1;
	return ret;
}

static int read_faults(const struct vcpu *vcpu, uint64_t *faults,
		       uint64_t *fast)
{
	*fast = 0;
	if (stats_read(&vcpu->stats, arch.faults, faults))
		return -1;
	if (arch.fast_faults)
		return stats_read(&vcpu->stats, arch.fast_faults, fast);
	return 0;
}

static int step_run(struct step *step)
{
	struct vcpu *vcpu = step->vcpu;
	uint64_t faults, fast;

	/* Run to the first stop, to map the code page. */
	if (vcpu_run(vcpu) || read_faults(vcpu, &faults, &fast))
		return -1;

	if (mark(step, &step->start) || vcpu_run(vcpu) ||
	    mark(step, &step->end))
		return -1;

	if (read_faults(vcpu, &vcpu->faults, &vcpu->fast_faults))
		return -1;
	vcpu->faults -= faults + arch.counts_stop;
	vcpu->fast_faults -= fast;
	return vcpu_check(vcpu);
}

/* A counter of the PMU counts one thread, so each thread opens its own. */
static void *do_step(void *arg)
{
	struct step *step = arg;

	step->ret = -1;
	if (counter_open(&step->counter)) {
		warn("cannot open the instruction counter");
		return NULL;
	}
	step->ret = step->fn(step);
	counter_close(&step->counter);
	return NULL;
}

static uint64_t steps_cost(const struct step *steps, unsigned int nr)
{
	uint64_t start = UINT64_MAX, end = 0, sum = 0;

	for (unsigned int i = 0; i < nr; i++) {
		sum += steps[i].end - steps[i].start;
		if (steps[i].start < start)
			start = steps[i].start;
		if (steps[i].end > end)
			end = steps[i].end;
	}
	/* Threads run at the same time, but their instructions add up. */
	return counter_is_clock() ? end - start : sum;
}

/* Call @fn for all vCPUs in parallel, and add the cost to @cost. */
static int on_all_vcpus(struct vm *vm, step_fn fn, unsigned int chunk,
			uint64_t *cost)
{
	struct step *steps = calloc(vm->nr_vcpus, sizeof(*steps));
	unsigned int started = 0;
	int ret = 0;

	if (!steps) {
		warn("calloc");
		return -1;
	}
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		steps[i].vcpu = &vm->vcpus[i];
		steps[i].fn = fn;
		steps[i].chunk = chunk;
	}

	/* A single vCPU needs no thread, which would add to the cost. */
	if (vm->nr_vcpus == 1) {
		do_step(steps);
		ret = steps->ret;
	} else {
		for (; started < vm->nr_vcpus; started++) {
			errno = pthread_create(&steps[started].thread, NULL,
					       do_step, &steps[started]);
			if (errno) {
				warn("pthread_create");
				ret = -1;
				break;
			}
		}
		for (unsigned int i = 0; i < started; i++) {
			pthread_join(steps[i].thread, NULL);
			ret |= steps[i].ret;
		}
	}

	if (!ret)
		*cost += steps_cost(steps, vm->nr_vcpus);
	free(steps);
	return ret;
}

static int pre_fault_all(struct vm *vm, const char *name, struct pass *pass)
{
	progress_bar(name, 0, CHUNKS);
	for (unsigned int i = 0; i < CHUNKS; i++) {
		if (on_all_vcpus(vm, step_pre_fault, i, &pass->pre_fault_cost))
			return -1;
		progress_bar(name, i + 1, CHUNKS);
	}
	return 0;
}

static int collect(struct vm *vm, struct pass *pass)
{
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		pass->faults += vm->vcpus[i].faults;
		pass->fast_faults += vm->vcpus[i].fast_faults;
	}

	if (!arch.counts_pages)
		return 0;
	if (stats_read(&vm->stats, "pages_4k", &pass->pages_4k) ||
	    stats_read(&vm->stats, "pages_2m", &pass->pages_2m) ||
	    stats_read(&vm->stats, "pages_1g", &pass->pages_1g))
		return -1;
	return 0;
}

int measure(int kvm_fd, const struct memory *mem, const struct options *opts,
	    const char *name, bool pre_fault, struct pass *pass)
{
	struct vm vm;
	int ret;

	*pass = (struct pass) { 0 };
	if (vm_create(&vm, kvm_fd, mem, opts->vcpus))
		return -1;

	ret = pre_fault ? pre_fault_all(&vm, name, pass) : 0;
	if (!ret)
		ret = on_all_vcpus(&vm, step_run, 0, &pass->guest_cost);
	if (!ret)
		ret = collect(&vm, pass);
	vm_destroy(&vm);
	return ret;
}
