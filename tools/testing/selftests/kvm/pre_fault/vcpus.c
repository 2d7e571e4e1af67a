// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY on many vCPUs at a time.
 */
#define _GNU_SOURCE
#include "pre_fault.h"

#define SIZE		(2 * SZ_2M)
#define NR_PAGES	(SIZE / PAGE_SIZE)
#define NR_ROUNDS	20

struct worker {
	struct kvm_vcpu *vcpu;
	pthread_barrier_t *barrier;
	uint64_t gpa;
	uint64_t size;
};

static void *worker_fn(void *arg)
{
	struct worker *w = arg;

	pthread_barrier_wait(w->barrier);
	pf_map(w->vcpu, w->gpa, w->size);
	return NULL;
}

static void run_workers(struct worker *w, unsigned int nr)
{
	pthread_t threads[MAX_TEST_VCPUS];
	pthread_barrier_t barrier;
	unsigned int i;

	pthread_barrier_init(&barrier, NULL, nr);
	for (i = 0; i < nr; i++) {
		w[i].barrier = &barrier;
		threads[i] = pf_thread(worker_fn, &w[i]);
	}
	for (i = 0; i < nr; i++)
		pf_join(threads[i]);
	pthread_barrier_destroy(&barrier);
}

static void renew_slot(struct kvm_vm *vm, uint32_t flags, void *mem)
{
	vm_set_user_memory_region(vm, TEST_SLOT, 0, TEST_GPA, 0, NULL);
	vm_set_user_memory_region(vm, TEST_SLOT, flags, TEST_GPA, SIZE, mem);
}

/* Every page is mapped by one vCPU and counted by that one. */
static void check_parallel(enum pf_backing backing, bool disjoint)
{
	struct kvm_vcpu *vcpus[MAX_TEST_VCPUS];
	struct worker w[MAX_TEST_VCPUS];
	struct kvm_vm *vm = pf_guest_vm(MAX_TEST_VCPUS, vcpus);
	void *mem = pf_mem(backing, SIZE, 1);
	unsigned int i, round;
	uint64_t leaves = 0;

	vm_set_user_memory_region(vm, TEST_SLOT, 0, TEST_GPA, SIZE, mem);

	for (round = 0; round < NR_ROUNDS; round++) {
		struct pf_stats before[MAX_TEST_VCPUS], d;
		uint64_t prefaulted = 0;

		renew_slot(vm, 0, mem);
		for (i = 0; i < MAX_TEST_VCPUS; i++) {
			w[i].vcpu = vcpus[i];
			w[i].gpa = TEST_GPA;
			w[i].size = SIZE;
			if (disjoint) {
				w[i].size /= MAX_TEST_VCPUS;
				w[i].gpa += i * w[i].size;
			}
			before[i] = pf_stats(vcpus[i]);
		}

		run_workers(w, MAX_TEST_VCPUS);

		for (i = 0; i < MAX_TEST_VCPUS; i++) {
			d = pf_stats_since(vcpus[i], &before[i]);
			prefaulted += d.prefaulted;
			if (disjoint && backing == PF_ANON)
				TEST_ASSERT(pf_prefaulted(&d, w[i].size /
							      PAGE_SIZE),
					    "vCPU %u mapped %lu pages", i,
					    d.prefaulted);
		}
		leaves = d.pages_4k + d.pages_2m;
		d.prefaulted = prefaulted;
		TEST_ASSERT(pf_prefaulted(&d, NR_PAGES) &&
			    (d.pages_4k + 512 * d.pages_2m == NR_PAGES ||
			     !pf_counts_mappings),
			    "%lu of %llu pages counted, mapped %lu of 4K, %lu of 2M",
			    prefaulted, NR_PAGES, d.pages_4k, d.pages_2m);
	}

	pf_guest_no_fault(vcpus[1], PF_READ, TEST_GPA, NR_PAGES, 1, leaves);
}

static void parallel_same_range(void)
{
	check_parallel(PF_ANON, false);
}

static void parallel_same_range_thp(void)
{
	check_parallel(PF_THP, false);
}

static void parallel_disjoint(void)
{
	check_parallel(PF_ANON, true);
}

/* The guest runs over the range on one vCPU while others pre-fault it. */
static void parallel_with_guest(void)
{
	struct kvm_vcpu *vcpus[3];
	struct kvm_vm *vm = pf_guest_vm(3, vcpus);
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	struct pf_stats before, d;
	pthread_barrier_t barrier;
	unsigned int i, round;
	pthread_t threads[3];
	struct worker w[3];

	vm_set_user_memory_region(vm, TEST_SLOT, 0, TEST_GPA, SIZE, mem);
	pthread_barrier_init(&barrier, NULL, 3);

	for (round = 0; round < NR_ROUNDS; round++) {
		renew_slot(vm, 0, mem);
		pf_guest_stats(vcpus[0], PF_WRITE, WARM_GPA, 1, 0);
		before = pf_stats(vcpus[0]);
		for (i = 1; i < 3; i++) {
			w[i] = (struct worker) {
				.vcpu = vcpus[i],
				.barrier = &barrier,
				.gpa = TEST_GPA,
				.size = SIZE,
			};
			threads[i] = pf_thread(worker_fn, &w[i]);
		}
		pthread_barrier_wait(&barrier);
		if (round & 1) {
			pf_guest(vcpus[0], PF_WRITE, TEST_GPA, NR_PAGES, round);
			pf_guest(vcpus[0], PF_WRITE, TEST_GPA, NR_PAGES, 1);
		}
		pf_guest_check(vcpus[0], TEST_GPA, NR_PAGES, 1);
		for (i = 1; i < 3; i++)
			pf_join(threads[i]);

		d = pf_stats_since(vcpus[0], &before);
		TEST_ASSERT(pf_mapped(&d, NR_PAGES, 0), "%lu pages mapped",
			    d.pages_4k);
		pf_guest_no_fault(vcpus[0], PF_READ, TEST_GPA, NR_PAGES, 1, 0);
	}
}

/* No write of the guest is lost to a pre-fault that maps read-only. */
static void parallel_with_guest_dirty_log(void)
{
	uint64_t bitmap[NR_PAGES / 64];
	struct kvm_vcpu *vcpus[2];
	struct kvm_vm *vm = pf_guest_vm(2, vcpus);
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	pthread_barrier_t barrier;
	unsigned int i, round;
	pthread_t thread;
	struct worker w;

	pthread_barrier_init(&barrier, NULL, 2);
	vm_set_user_memory_region(vm, TEST_SLOT, KVM_MEM_LOG_DIRTY_PAGES,
				  TEST_GPA, SIZE, mem);

	for (round = 0; round < NR_ROUNDS; round++) {
		if (round & 1)
			renew_slot(vm, KVM_MEM_LOG_DIRTY_PAGES, mem);
		w = (struct worker) {
			.vcpu = vcpus[1],
			.barrier = &barrier,
			.gpa = TEST_GPA,
			.size = SIZE,
		};
		thread = pf_thread(worker_fn, &w);
		pthread_barrier_wait(&barrier);
		pf_guest(vcpus[0], PF_WRITE, TEST_GPA, NR_PAGES, round);
		pf_join(thread);

		memset(bitmap, 0, sizeof(bitmap));
		kvm_vm_get_dirty_log(vm, TEST_SLOT, bitmap);
		for (i = 0; i < NR_PAGES / 64; i++)
			TEST_ASSERT(bitmap[i] == -1ul,
				    "written but not dirty: pages %u on, %#lx",
				    i * 64, ~bitmap[i]);
		pf_guest_check(vcpus[0], TEST_GPA, NR_PAGES, round);
	}
}

const struct pf_test pf_vcpu_tests[] = {
	PF_TEST(parallel_same_range),
	PF_TEST(parallel_same_range_thp),
	PF_TEST(parallel_disjoint),
	PF_TEST(parallel_with_guest),
	PF_TEST(parallel_with_guest_dirty_log),
	{ }
};
