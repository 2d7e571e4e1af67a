// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY in a loop while memslots come and go: no hang, no errno
 * but those that say so, and no mapping of what is gone.
 */
#define _GNU_SOURCE
#include "pre_fault.h"

#define NR_PAGES	64
#define SIZE		(NR_PAGES * PAGE_SIZE)
#define OTHER_GPA	(TEST_GPA + SZ_2M)
#define OTHER_SLOT	TEST_SLOT2

struct hammer {
	pthread_t thread;
	struct kvm_vcpu *vcpu;
	uint64_t gpa;
	/* EAGAIN and ENOENT are expected. */
	bool slot_comes_and_goes;
	bool stop;
	unsigned long calls;
	unsigned long done;
	unsigned long again;
	unsigned long absent;
};

static void *hammer_fn(void *arg)
{
	struct hammer *h = arg;

	while (!READ_ONCE(h->stop)) {
		struct kvm_pre_fault_memory range = {
			.gpa = h->gpa,
			.size = SIZE,
		};
		int ret = pf_call(h->vcpu, &range);

		h->calls++;
		if (!ret) {
			TEST_ASSERT(range.size < SIZE, "0 with nothing done");
			TEST_ASSERT(!range.size || h->slot_comes_and_goes,
				    "%#llx left", range.size);
			h->done++;
			continue;
		}

		TEST_ASSERT(range.size == SIZE && range.gpa == h->gpa,
			    "errno %d with %#llx done", ret, SIZE - range.size);
		TEST_ASSERT(h->slot_comes_and_goes &&
			    (ret == EAGAIN || ret == ENOENT), "errno %d (%s)",
			    ret, strerror(ret));
		if (ret == EAGAIN)
			h->again++;
		else
			h->absent++;
	}

	return NULL;
}

static void hammer_start(struct hammer *h)
{
	h->thread = pf_thread(hammer_fn, h);
}

static void hammer_stop(struct hammer *h)
{
	WRITE_ONCE(h->stop, true);
	pf_join(h->thread);
	pr_info("%u rounds, %lu calls: %lu done, %lu EAGAIN, %lu ENOENT\n",
		pf_rounds, h->calls, h->done, h->again, h->absent);
	TEST_ASSERT(h->done, "no call ever did anything");
}

/* It may take a while until a call is made, and finds the memslot. */
static void hammer_let_in(struct hammer *h)
{
	unsigned long done = READ_ONCE(h->done);
	double end = pf_now() + 10.0 * pf_slowness;

	while (READ_ONCE(h->done) == done && pf_now() < end)
		sched_yield();
}

static void set_slot(struct kvm_vm *vm, uint64_t gpa, uint64_t size, void *mem)
{
	vm_set_user_memory_region(vm, TEST_SLOT, 0, gpa, size, mem);
}

static void loop_memslot_delete(void)
{
	struct kvm_vcpu *vcpus[2];
	struct kvm_vm *vm = pf_guest_vm(2, vcpus);
	struct hammer h = {
		.vcpu = vcpus[1],
		.gpa = TEST_GPA,
		.slot_comes_and_goes = true,
	};
	void *mem[2] = { pf_mem(PF_ANON, SIZE, 0), pf_mem(PF_ANON, SIZE, 1) };
	unsigned int i;

	set_slot(vm, TEST_GPA, SIZE, mem[1]);
	hammer_start(&h);

	for (i = 0; i < pf_rounds; i++) {
		set_slot(vm, TEST_GPA, 0, NULL);
		/* Other memory each time: what was mapped is not to be seen. */
		set_slot(vm, TEST_GPA, SIZE, mem[i % 2]);
		if (i % 16 == 0) {
			hammer_let_in(&h);
			pf_guest_check(vcpus[0], TEST_GPA, NR_PAGES, i % 2);
		}
	}

	hammer_stop(&h);

	set_slot(vm, TEST_GPA, 0, NULL);
	set_slot(vm, TEST_GPA, SIZE, mem[1]);
	pf_map(vcpus[1], TEST_GPA, SIZE);
	pf_guest_no_fault(vcpus[0], PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
}

static void loop_memslot_move(void)
{
	struct kvm_vcpu *vcpus[2];
	struct kvm_vm *vm = pf_guest_vm(2, vcpus);
	struct hammer h = {
		.vcpu = vcpus[1],
		.gpa = TEST_GPA,
		.slot_comes_and_goes = true,
	};
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	unsigned int i;

	set_slot(vm, TEST_GPA, SIZE, mem);
	hammer_start(&h);

	for (i = 0; i < pf_rounds; i++) {
		set_slot(vm, i % 2 ? TEST_GPA : OTHER_GPA, SIZE, mem);
		if (i % 16 == 1)
			hammer_let_in(&h);
	}

	hammer_stop(&h);

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
static void loop_other_memslot(void)
{
	struct kvm_vcpu *vcpus[2];
	struct kvm_vm *vm = pf_guest_vm(2, vcpus);
	struct hammer h = { .vcpu = vcpus[1], .gpa = TEST_GPA };
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	void *other = pf_mem(PF_ANON, SIZE, 0);
	unsigned int i;

	set_slot(vm, TEST_GPA, SIZE, mem);
	hammer_start(&h);

	for (i = 0; i < pf_rounds; i++) {
		vm_set_user_memory_region(vm, OTHER_SLOT, 0, OTHER_GPA,
					  i % 2 ? 0 : SIZE, other);
		if (i % 16 == 1)
			hammer_let_in(&h);
	}

	hammer_stop(&h);

	pf_map(vcpus[1], TEST_GPA, SIZE);
	pf_guest_no_fault(vcpus[0], PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
}

const struct pf_test pf_slot_tests[] = {
	PF_TEST(loop_memslot_delete),
	PF_TEST(loop_memslot_move),
	PF_TEST(loop_other_memslot),
	{ }
};
