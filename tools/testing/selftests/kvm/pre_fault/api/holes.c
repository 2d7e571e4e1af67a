// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY where there is no memslot.
 */
#define _GNU_SOURCE
#include "../pre_fault.h"

#define NR_PAGES	16
#define SIZE		(NR_PAGES * PAGE_SIZE)
#define HOLE		(4 * PAGE_SIZE)

/* The errno is the same before the VM has any memory. */
static void enoent_no_slot_at_all(void)
{
	struct kvm_vcpu *vcpu = pf_raw_vcpu();
	struct kvm_pre_fault_memory range = { .gpa = TEST_GPA, .size = SIZE };
	int err = pf_call(vcpu, &range);

	/* The legacy MMU has no page for a root before there is a memslot. */
	if (err != ENOSPC || !PF_ROOT_BEFORE_SLOT) {
		pf_expect(vcpu, TEST_GPA, SIZE, ENOENT, 0);
		pf_expect(vcpu, 0, PAGE_SIZE, ENOENT, 0);
	}
	pf_add_slot(vcpu->vm, TEST_SLOT, TEST_GPA, SIZE, pf_mem(PF_ANON, SIZE, 0));
	pf_map(vcpu, TEST_GPA, SIZE);
}

static void enoent_no_slot(void)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	struct pf_stats before, d;

	pf_add_slot(vcpu->vm, TEST_SLOT, TEST_GPA, SIZE, pf_mem(PF_ANON, SIZE, 0));

	before = pf_stats(vcpu);
	pf_expect(vcpu, TEST_GPA + SIZE, PAGE_SIZE, ENOENT, 0);
	pf_expect(vcpu, TEST_GPA + SIZE, SIZE, ENOENT, 0);
	/* The start counts, even if a memslot follows. */
	pf_expect(vcpu, TEST_GPA - PAGE_SIZE, SIZE, ENOENT, 0);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(!d.prefaulted && !d.pages_4k && !d.mmio_spte,
		    "%lu pages pre-faulted, %lu MMIO SPTEs", d.prefaulted,
		    d.mmio_spte);
}

static void enoent_hole(void)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	uint64_t gpa2 = TEST_GPA + SIZE + HOLE;
	void *mem = pf_mem(PF_ANON, 2 * SIZE + HOLE, 3);

	pf_add_slot(vcpu->vm, TEST_SLOT, TEST_GPA, SIZE, mem);
	pf_add_slot(vcpu->vm, TEST_SLOT2, gpa2, SIZE, mem + SIZE + HOLE);

	pf_expect(vcpu, TEST_GPA, 2 * SIZE + HOLE, 0, SIZE);
	pf_expect(vcpu, TEST_GPA + SIZE, SIZE + HOLE, ENOENT, 0);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 3, NR_PAGES);
	pf_expect(vcpu, gpa2, SIZE + PAGE_SIZE, 0, SIZE);
	pf_guest_no_fault(vcpu, PF_READ, gpa2, NR_PAGES, 3, NR_PAGES);
}

/* Check that all reads of a page by the guest exit to userspace. */
static void expect_mmio_read(struct kvm_vcpu *vcpu, uint64_t gpa)
{
	struct kvm_run *run = vcpu->run;
	unsigned int i;

	pf_guest_start(vcpu, PF_READ, gpa, 1, 0);
	TEST_ASSERT(pf_guest_mmio(vcpu), "exit reason %d", run->exit_reason);
	for (i = 0; pf_guest_mmio(vcpu); i++) {
		TEST_ASSERT(run->mmio.phys_addr >= gpa &&
			    run->mmio.phys_addr < gpa + PAGE_SIZE &&
			    !run->mmio.is_write, "MMIO at %#llx",
			    run->mmio.phys_addr);
		memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
		vcpu_run(vcpu);
	}
	TEST_ASSERT(i == 2, "%u exits for two reads", i);
	pf_guest_finish(vcpu);
}

static void mmio_not_cached(void)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	void *mem = pf_mem(PF_ANON, 2 * SIZE, 6);
	struct pf_stats before = pf_stats(vcpu), d;
	uint64_t gpa2 = TEST_GPA + SIZE;

	/* Only the guest's access creates an MMIO SPTE for a hole, not a pre-fault. */
	pf_expect(vcpu, TEST_GPA, SIZE, ENOENT, 0);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(!d.mmio_spte, "%lu MMIO SPTEs", d.mmio_spte);
	expect_mmio_read(vcpu, TEST_GPA);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(d.mmio_spte <= 1, "%lu MMIO SPTEs", d.mmio_spte);
	pf_expect(vcpu, TEST_GPA, SIZE, ENOENT, 0);
	pf_expect(vcpu, gpa2, SIZE, ENOENT, 0);

	/* Add memory where the guest saw MMIO, and where only a pre-fault was tried. */
	pf_add_slot(vcpu->vm, TEST_SLOT, TEST_GPA, SIZE, mem);
	pf_add_slot(vcpu->vm, TEST_SLOT2, gpa2, SIZE, mem + SIZE);
	pf_guest_check(vcpu, gpa2, NR_PAGES, 6);
	pf_map(vcpu, TEST_GPA, SIZE);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 6, NR_PAGES);

	/* Remove it again. */
	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, 0, NULL);
	pf_expect(vcpu, TEST_GPA, SIZE, ENOENT, 0);
	expect_mmio_read(vcpu, TEST_GPA);
}

const struct pf_test pf_hole_tests[] = {
	PF_TEST(enoent_no_slot),
	PF_TEST(enoent_no_slot_at_all),
	PF_TEST(enoent_hole),
	PF_TEST(mmio_not_cached),
	{ }
};
