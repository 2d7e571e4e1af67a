// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY in a loop while memslots come and go: no hang, no errno
 * but those that say so, and no mapping of what is gone.
 */
#define _GNU_SOURCE
#include "../pre_fault.h"

#define NR_PAGES	64
#define SIZE		(NR_PAGES * PAGE_SIZE)
#define OTHER_GPA	(TEST_GPA + SZ_2M)
#define OTHER_SLOT	TEST_SLOT2

static void loop_stop(struct pf_loop *loop)
{
	pf_loop_stop(loop);
	pf_loop_report(loop, pf_rounds);
	TEST_ASSERT(loop->done, "no call ever did anything");
}

/* It may take a while until a call is made, and finds the memslot. */
static void let_in(struct pf_loop *loop)
{
	pf_loop_let_in(loop, &loop->done, 10);
}

static void set_slot(struct kvm_vm *vm, uint64_t gpa, uint64_t size, void *mem)
{
	vm_set_user_memory_region(vm, TEST_SLOT, 0, gpa, size, mem);
}

static void race_memslot_delete(void)
{
	struct kvm_vcpu *vcpus[2];
	struct kvm_vm *vm = pf_guest_vm(2, vcpus);
	struct pf_loop loop = {
		.vcpu = vcpus[1],
		.gpa = TEST_GPA,
		.size = SIZE,
		.errs = { EAGAIN, ENOENT },
	};
	void *mem[2] = { pf_mem(PF_ANON, SIZE, 0), pf_mem(PF_ANON, SIZE, 1) };
	unsigned int i;

	set_slot(vm, TEST_GPA, SIZE, mem[1]);
	pf_loop_start(&loop);

	for (i = 0; i < pf_rounds; i++) {
		set_slot(vm, TEST_GPA, 0, NULL);
		/* Other memory each time: what was mapped is not to be seen. */
		set_slot(vm, TEST_GPA, SIZE, mem[i % 2]);
		if (i % 16 == 0) {
			let_in(&loop);
			pf_guest_check(vcpus[0], TEST_GPA, NR_PAGES, i % 2);
		}
	}

	loop_stop(&loop);

	set_slot(vm, TEST_GPA, 0, NULL);
	set_slot(vm, TEST_GPA, SIZE, mem[1]);
	pf_map(vcpus[1], TEST_GPA, SIZE);
	pf_guest_no_fault(vcpus[0], PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
}

static void race_memslot_move(void)
{
	struct kvm_vcpu *vcpus[2];
	struct kvm_vm *vm = pf_guest_vm(2, vcpus);
	struct pf_loop loop = {
		.vcpu = vcpus[1],
		.gpa = TEST_GPA,
		.size = SIZE,
		.errs = { EAGAIN, ENOENT },
	};
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	unsigned int i;

	set_slot(vm, TEST_GPA, SIZE, mem);
	pf_loop_start(&loop);

	for (i = 0; i < pf_rounds; i++) {
		set_slot(vm, i % 2 ? TEST_GPA : OTHER_GPA, SIZE, mem);
		if (i % 16 == 1)
			let_in(&loop);
	}

	loop_stop(&loop);

	set_slot(vm, OTHER_GPA, SIZE, mem);
	set_slot(vm, TEST_GPA, SIZE, mem);
	pf_expect(vcpus[1], OTHER_GPA, SIZE, ENOENT, 0);
	pf_map(vcpus[1], TEST_GPA, SIZE);
	pf_guest_no_fault(vcpus[0], PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
}

/*
 * Deleting one memslot zaps the mappings of all, and makes the roots obsolete:
 * retried inside, so that no call over another memslot ever fails.
 */
static void race_other_memslot(void)
{
	struct kvm_vcpu *vcpus[2];
	struct kvm_vm *vm = pf_guest_vm(2, vcpus);
	struct pf_loop loop = { .vcpu = vcpus[1], .gpa = TEST_GPA, .size = SIZE };
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	void *other = pf_mem(PF_ANON, SIZE, 0);
	unsigned int i;

	set_slot(vm, TEST_GPA, SIZE, mem);
	pf_loop_start(&loop);

	for (i = 0; i < pf_rounds; i++) {
		vm_set_user_memory_region(vm, OTHER_SLOT, 0, OTHER_GPA,
					  i % 2 ? 0 : SIZE, other);
		if (i % 16 == 1)
			let_in(&loop);
	}

	loop_stop(&loop);

	pf_map(vcpus[1], TEST_GPA, SIZE);
	pf_guest_no_fault(vcpus[0], PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
}

const struct pf_test pf_race_memslot_tests[] = {
	PF_TEST(race_memslot_delete),
	PF_TEST(race_memslot_move),
	PF_TEST(race_other_memslot),
	{ }
};
