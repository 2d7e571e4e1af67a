// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY on many vCPUs at the same time.
 */
#define _GNU_SOURCE
#include "../pre_fault.h"

#define SIZE		(2 * SZ_2M)
#define NR_PAGES	(SIZE / PAGE_SIZE)
#define NR_ROUNDS	20

/* Exactly one vCPU maps and counts each page. */
static void check_parallel(enum pf_memory memory, bool disjoint)
{
	struct kvm_vcpu *vcpus[MAX_TEST_VCPUS];
	struct pf_mapper m[MAX_TEST_VCPUS];
	struct kvm_vm *vm = pf_guest_vm(MAX_TEST_VCPUS, vcpus);
	void *mem = pf_mem(memory, SIZE, 1);
	unsigned int i, round;
	uint64_t leaves = 0;

	vm_set_user_memory_region(vm, TEST_SLOT, 0, TEST_GPA, SIZE, mem);

	for (round = 0; round < NR_ROUNDS; round++) {
		struct pf_stats before[MAX_TEST_VCPUS], d;
		uint64_t prefaulted = 0;

		pf_renew_slot(vm, SIZE, mem);
		for (i = 0; i < MAX_TEST_VCPUS; i++) {
			m[i] = (struct pf_mapper) { vcpus[i], TEST_GPA, SIZE };
			if (disjoint) {
				m[i].size /= MAX_TEST_VCPUS;
				m[i].gpa += i * m[i].size;
			}
			before[i] = pf_stats(vcpus[i]);
		}

		pf_mappers_run(m, MAX_TEST_VCPUS, NULL, NULL);

		for (i = 0; i < MAX_TEST_VCPUS; i++) {
			d = pf_stats_since(vcpus[i], &before[i]);
			prefaulted += d.prefaulted;
			if (disjoint && memory == PF_ANON)
				TEST_ASSERT(pf_prefaulted(&d, m[i].size /
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

struct guest_turn {
	struct kvm_vcpu *vcpu;
	unsigned int round;
};

static void guest_turn(void *arg)
{
	struct guest_turn *turn = arg;

	if (turn->round & 1) {
		pf_guest(turn->vcpu, PF_WRITE, TEST_GPA, NR_PAGES, turn->round);
		pf_guest(turn->vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 1);
	}
	pf_guest_check(turn->vcpu, TEST_GPA, NR_PAGES, 1);
}

/* The guest runs over the range on one vCPU while others pre-fault it. */
static void parallel_with_guest(void)
{
	struct kvm_vcpu *vcpus[3];
	struct kvm_vm *vm = pf_guest_vm(3, vcpus);
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	struct guest_turn turn = { .vcpu = vcpus[0] };
	struct pf_stats before, d;
	struct pf_mapper m[2];
	unsigned int i;

	vm_set_user_memory_region(vm, TEST_SLOT, 0, TEST_GPA, SIZE, mem);

	for (turn.round = 0; turn.round < NR_ROUNDS; turn.round++) {
		pf_renew_slot(vm, SIZE, mem);
		pf_guest_stats(vcpus[0], PF_WRITE, WARM_GPA, 1, 0);
		before = pf_stats(vcpus[0]);
		for (i = 0; i < 2; i++)
			m[i] = (struct pf_mapper) { vcpus[1 + i], TEST_GPA, SIZE };
		pf_mappers_run(m, 2, guest_turn, &turn);

		d = pf_stats_since(vcpus[0], &before);
		TEST_ASSERT(pf_mapped(&d, NR_PAGES, 0), "%lu pages mapped",
			    d.pages_4k);
		pf_guest_no_fault(vcpus[0], PF_READ, TEST_GPA, NR_PAGES, 1, 0);
	}
}

const struct pf_test pf_race_vcpu_tests[] = {
	PF_TEST(parallel_same_range),
	PF_TEST(parallel_same_range_thp),
	PF_TEST(parallel_disjoint),
	PF_TEST(parallel_with_guest),
	{ }
};
