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

static void set_slot(struct kvm_vm *vm, uint64_t gpa, uint64_t size, void *mem)
{
	vm_set_user_memory_region(vm, TEST_SLOT, 0, gpa, size, mem);
}

/* Start the loop on a second vCPU of a new VM.  Returns the vCPU for the guest. */
static struct kvm_vcpu *race_start(struct pf_loop *loop, void *mem)
{
	struct kvm_vcpu *vcpus[2];

	set_slot(pf_guest_vm(2, vcpus), TEST_GPA, SIZE, mem);
	loop->vcpu = vcpus[1];
	loop->gpa = TEST_GPA;
	loop->size = SIZE;
	pf_loop_start(loop);
	return vcpus[0];
}

/* It may take a while until a call is made, and finds the memslot. */
static void let_in(struct pf_loop *loop)
{
	pf_loop_let_in(loop, &loop->done, 10);
}

static void race_stop(struct pf_loop *loop)
{
	pf_loop_stop(loop);
	pf_loop_report(loop, pf_rounds);
	TEST_ASSERT(loop->done, "no call ever did anything");
}

/* A pre-fault of the memslot as it is now leaves no fault for the guest. */
static void check_mapped(struct kvm_vcpu *guest, struct pf_loop *loop)
{
	pf_map(loop->vcpu, TEST_GPA, SIZE);
	pf_guest_no_fault(guest, PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
}

static void race_memslot_delete(void)
{
	struct pf_loop loop = { .errs = { EAGAIN, ENOENT } };
	void *mem[2] = { pf_mem(PF_ANON, SIZE, 0), pf_mem(PF_ANON, SIZE, 1) };
	struct kvm_vcpu *guest = race_start(&loop, mem[1]);
	unsigned int i;

	for (i = 0; i < pf_rounds; i++) {
		set_slot(guest->vm, TEST_GPA, 0, NULL);
		/* Other memory each time, so that the guest sees a mapping that stayed. */
		set_slot(guest->vm, TEST_GPA, SIZE, mem[i % 2]);
		if (i % 16 == 0) {
			let_in(&loop);
			pf_guest_check(guest, TEST_GPA, NR_PAGES, i % 2);
		}
	}

	race_stop(&loop);

	set_slot(guest->vm, TEST_GPA, 0, NULL);
	set_slot(guest->vm, TEST_GPA, SIZE, mem[1]);
	check_mapped(guest, &loop);
}

static void race_memslot_move(void)
{
	struct pf_loop loop = { .errs = { EAGAIN, ENOENT } };
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	struct kvm_vcpu *guest = race_start(&loop, mem);
	unsigned int i;

	for (i = 0; i < pf_rounds; i++) {
		set_slot(guest->vm, i % 2 ? TEST_GPA : OTHER_GPA, SIZE, mem);
		if (i % 16 == 1)
			let_in(&loop);
	}

	race_stop(&loop);

	set_slot(guest->vm, OTHER_GPA, SIZE, mem);
	set_slot(guest->vm, TEST_GPA, SIZE, mem);
	pf_expect(loop.vcpu, OTHER_GPA, SIZE, ENOENT, 0);
	check_mapped(guest, &loop);
}

/*
 * Deleting one memslot zaps the mappings of all, and makes the roots obsolete. KVM
 * retries inside the call: no pre-fault of another memslot fails.
 */
static void race_other_memslot(void)
{
	struct pf_loop loop = {};
	void *other = pf_mem(PF_ANON, SIZE, 0);
	struct kvm_vcpu *guest = race_start(&loop, pf_mem(PF_ANON, SIZE, 1));
	unsigned int i;

	for (i = 0; i < pf_rounds; i++) {
		vm_set_user_memory_region(guest->vm, OTHER_SLOT, 0, OTHER_GPA,
					  i % 2 ? 0 : SIZE, other);
		if (i % 16 == 1)
			let_in(&loop);
	}

	race_stop(&loop);
	check_mapped(guest, &loop);
}

const struct pf_test pf_race_memslot_tests[] = {
	PF_TEST(race_memslot_delete),
	PF_TEST(race_memslot_move),
	PF_TEST(race_other_memslot),
	{ }
};
