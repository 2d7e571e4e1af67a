// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY: where there is no memslot, and where one meets the next.
 */
#define _GNU_SOURCE
#include "pre_fault.h"

#define NR_PAGES	16
#define SIZE		(NR_PAGES * PAGE_SIZE)
#define HOLE		(4 * PAGE_SIZE)

static void add_slot(struct kvm_vm *vm, uint32_t slot, uint64_t gpa, void *mem)
{
	vm_set_user_memory_region(vm, slot, 0, gpa, SIZE, mem);
}

/* The same answer before the VM has any memory. */
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
	add_slot(vcpu->vm, TEST_SLOT, TEST_GPA, pf_mem(PF_ANON, SIZE, 0));
	pf_map(vcpu, TEST_GPA, SIZE);
}

static void enoent_no_slot(void)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	struct pf_stats before, d;

	add_slot(vcpu->vm, TEST_SLOT, TEST_GPA, pf_mem(PF_ANON, SIZE, 0));

	before = pf_stats(vcpu);
	pf_expect(vcpu, TEST_GPA + SIZE, PAGE_SIZE, ENOENT, 0);
	pf_expect(vcpu, TEST_GPA + SIZE, SIZE, ENOENT, 0);
	/* Not even when what follows is in one. */
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

	add_slot(vcpu->vm, TEST_SLOT, TEST_GPA, mem);
	add_slot(vcpu->vm, TEST_SLOT2, gpa2, mem + SIZE + HOLE);

	pf_expect(vcpu, TEST_GPA, 2 * SIZE + HOLE, 0, SIZE);
	pf_expect(vcpu, TEST_GPA + SIZE, SIZE + HOLE, ENOENT, 0);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 3, NR_PAGES);
	pf_expect(vcpu, gpa2, SIZE + PAGE_SIZE, 0, SIZE);
	pf_guest_no_fault(vcpu, PF_READ, gpa2, NR_PAGES, 3, NR_PAGES);
}

/* Memory of one memslot next to the other's, in the opposite order of hva. */
static void slot_boundary(void)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	void *mem = pf_mem(PF_ANON, 3 * SIZE, 0);
	unsigned int i;

	for (i = 0; i < 3; i++) {
		pf_fill(mem + (2 - i) * SIZE, TEST_GPA + i * SIZE, SIZE, 4);
		add_slot(vcpu->vm, TEST_SLOT + i, TEST_GPA + i * SIZE,
			 mem + (2 - i) * SIZE);
	}

	pf_map(vcpu, TEST_GPA, 3 * SIZE);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, 3 * NR_PAGES, 4,
			  3 * NR_PAGES);
}

/* An invalidation zaps SPTEs that have nothing mapped for 1M before them. */
static void unmapped_behind_gap(void)
{
	const uint64_t gpa = TEST_GPA + SZ_2M;
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	void *mem = pf_mem(PF_ANON, SZ_2M, 0);

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, gpa - SZ_2M / 2, SZ_2M,
				  mem);
	pf_map(vcpu, gpa, SIZE);
	TEST_ASSERT(!madvise(mem, SZ_2M, MADV_DONTNEED), "madvise()");
	pf_fill(mem + SZ_2M / 2, gpa, SIZE, 1);
	pf_guest_check(vcpu, gpa, NR_PAGES, 1);
}

/* A huge page does not reach beyond its memslot. */
static void slot_boundary_in_huge_page(void)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	void *mem = pf_mem(PF_THP, SZ_2M, 5);
	struct pf_stats before, d;

	add_slot(vcpu->vm, TEST_SLOT, TEST_GPA + SIZE, mem + SIZE);

	before = pf_stats(vcpu);
	pf_expect(vcpu, TEST_GPA, SZ_2M, ENOENT, 0);
	pf_expect(vcpu, TEST_GPA + SIZE, SZ_2M, 0, SIZE);
	pf_expect(vcpu, TEST_GPA + 2 * SIZE, SIZE, ENOENT, 0);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(pf_prefaulted(&d, NR_PAGES) && pf_mapped(&d, NR_PAGES, 0),
		    "%lu pages pre-faulted, mapped %lu of 4K, %lu of 2M",
		    d.prefaulted, d.pages_4k, d.pages_2m);
}

/* The guest's reads of a page all exit to userspace. */
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

	/* A hole stays one for the guest, and it is the guest who finds out. */
	pf_expect(vcpu, TEST_GPA, SIZE, ENOENT, 0);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(!d.mmio_spte, "%lu MMIO SPTEs", d.mmio_spte);
	expect_mmio_read(vcpu, TEST_GPA);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(d.mmio_spte <= 1, "%lu MMIO SPTEs", d.mmio_spte);
	pf_expect(vcpu, TEST_GPA, SIZE, ENOENT, 0);
	pf_expect(vcpu, gpa2, SIZE, ENOENT, 0);

	/* Memory where the guest saw MMIO, and where only a pre-fault was. */
	add_slot(vcpu->vm, TEST_SLOT, TEST_GPA, mem);
	add_slot(vcpu->vm, TEST_SLOT2, gpa2, mem + SIZE);
	pf_guest_check(vcpu, gpa2, NR_PAGES, 6);
	pf_map(vcpu, TEST_GPA, SIZE);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 6, NR_PAGES);

	/* And gone again */
	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, 0, NULL);
	pf_expect(vcpu, TEST_GPA, SIZE, ENOENT, 0);
	expect_mmio_read(vcpu, TEST_GPA);
}

static void readonly_slot(void)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	struct kvm_run *run = vcpu->run;
	void *mem = pf_mem(PF_ANON, SIZE, 7);
	struct pf_stats before, d;

	if (!vm_check_cap(vcpu->vm, KVM_CAP_READONLY_MEM))
		pf_skip("no read-only memslots");

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, KVM_MEM_READONLY,
				  TEST_GPA, SIZE, mem);
	before = pf_stats(vcpu);
	pf_map(vcpu, TEST_GPA, SIZE);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(pf_prefaulted(&d, NR_PAGES) && pf_mapped(&d, NR_PAGES, 0),
		    "%lu pages pre-faulted, %lu mapped", d.prefaulted,
		    d.pages_4k);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 7, NR_PAGES);

	pf_guest_start(vcpu, PF_WRITE, TEST_GPA, 1, 8);
	TEST_ASSERT(pf_guest_mmio(vcpu), "exit reason %d", run->exit_reason);
	TEST_ASSERT(run->mmio.phys_addr == TEST_GPA && run->mmio.is_write,
		    "MMIO at %#llx", run->mmio.phys_addr);
	while (pf_guest_mmio(vcpu))
		vcpu_run(vcpu);
	pf_guest_finish(vcpu);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 7);
}

const struct pf_test pf_hole_tests[] = {
	PF_TEST(enoent_no_slot),
	PF_TEST(enoent_no_slot_at_all),
	PF_TEST(enoent_hole),
	PF_TEST(slot_boundary),
	PF_TEST(unmapped_behind_gap),
	PF_TEST(slot_boundary_in_huge_page),
	PF_TEST(mmio_not_cached),
	PF_TEST(readonly_slot),
	{ }
};
