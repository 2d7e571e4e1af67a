// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY and dirty logging: mapped read-only, at 4K, and nothing
 * reported as dirty before the guest has written it.
 */
#define _GNU_SOURCE
#include "pre_fault.h"

#define SIZE		SZ_2M
#define NR_PAGES	(SIZE / PAGE_SIZE)
#define RING_BYTES	65536

static void set_slot(struct kvm_vcpu *vcpu, uint32_t flags, void *mem)
{
	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, flags, TEST_GPA, SIZE,
				  mem);
}

/* The log must have the page @only and no other; none if negative. */
static void check_log(struct kvm_vcpu *vcpu, int only)
{
	uint64_t bitmap[NR_PAGES / 64] = {};
	unsigned int i;

	kvm_vm_get_dirty_log(vcpu->vm, TEST_SLOT, bitmap);
	for (i = 0; i < NR_PAGES; i++) {
		bool dirty = bitmap[i / 64] >> (i % 64) & 1;

		TEST_ASSERT(dirty == ((int)i == only), "page %u is %sdirty", i,
			    dirty ? "" : "not ");
	}
}

static void check_mapped_4k(struct kvm_vcpu *vcpu)
{
	struct pf_stats before = pf_stats(vcpu), d;

	pf_map(vcpu, TEST_GPA, SIZE);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(pf_mapped(&d, NR_PAGES, 0) && pf_prefaulted(&d, NR_PAGES),
		    "mapped %lu pages of 4K, %lu of 2M, counted %lu",
		    d.pages_4k, d.pages_2m, d.prefaulted);
}

static void check_dirty_log(enum pf_backing backing)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	void *mem = pf_mem(backing, SIZE, 1);
	struct pf_stats d;

	set_slot(vcpu, KVM_MEM_LOG_DIRTY_PAGES, mem);
	check_mapped_4k(vcpu);
	check_log(vcpu, -1);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
	check_log(vcpu, -1);

	/* Read-only: each first write is noticed, by a fault. */
	d = pf_guest_stats(vcpu, PF_WRITE, TEST_GPA + 3 * PAGE_SIZE, 1, 1);
	TEST_ASSERT(d.taken == 1, "%lu faults for the first write", d.taken);
	check_log(vcpu, 3);

	/* Cleared again, and again a pre-fault is not a write. */
	pf_map(vcpu, TEST_GPA, SIZE);
	check_log(vcpu, -1);
	pf_guest(vcpu, PF_WRITE, TEST_GPA + 3 * PAGE_SIZE, 1, 1);
	check_log(vcpu, 3);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 1);
}

static void dirty_log_4k(void)
{
	check_dirty_log(PF_ANON);
}

static void dirty_log_thp(void)
{
	check_dirty_log(PF_THP);
}

static void dirty_log_memfd(void)
{
	check_dirty_log(PF_MEMFD);
}

/* Mapped first, with 2M and writable; logged then. */
static void dirty_log_enabled_later(void)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	void *mem = pf_mem(pf_huge, SIZE, 1);

	set_slot(vcpu, 0, mem);
	pf_map(vcpu, TEST_GPA, SIZE);
	set_slot(vcpu, KVM_MEM_LOG_DIRTY_PAGES, mem);
	pf_map(vcpu, TEST_GPA, SIZE);
	check_log(vcpu, -1);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 1);
	pf_guest(vcpu, PF_WRITE, TEST_GPA + 9 * PAGE_SIZE, 1, 1);
	check_log(vcpu, 9);
}

/* A page the guest has dirtied stays dirty and writable. */
static void dirty_log_keeps_dirty(void)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();

	set_slot(vcpu, KVM_MEM_LOG_DIRTY_PAGES, pf_mem(PF_ANON, SIZE, 1));
	pf_guest(vcpu, PF_WRITE, TEST_GPA + 4 * PAGE_SIZE, 1, 1);
	pf_map(vcpu, TEST_GPA, SIZE);
	pf_guest_no_fault(vcpu, PF_WRITE, TEST_GPA + 4 * PAGE_SIZE, 1, 1, 0);
	check_log(vcpu, 4);
}

static struct kvm_vcpu *ring_vcpu(void)
{
	struct kvm_vm *vm = vm_create(1);
	struct kvm_vcpu *vcpu;

	if (!vm_check_cap(vm, KVM_CAP_DIRTY_LOG_RING) &&
	    !vm_check_cap(vm, KVM_CAP_DIRTY_LOG_RING_ACQ_REL))
		pf_skip("no dirty ring");

	vm_enable_dirty_ring(vm, RING_BYTES);
	vcpu = vm_vcpu_add(vm, 0, pf_guest_main);
	pf_guest_map(vm);
	vcpu_args_set(vcpu, 1, 0ul);
	vcpu_run(vcpu);
	pf_guest_finish(vcpu);
	return vcpu;
}

static void dirty_ring(void)
{
	struct kvm_vcpu *vcpu = ring_vcpu();
	struct kvm_dirty_gfn *ring = vcpu_map_dirty_ring(vcpu);

	set_slot(vcpu, KVM_MEM_LOG_DIRTY_PAGES, pf_mem(PF_THP, SIZE, 1));
	check_mapped_4k(vcpu);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
	TEST_ASSERT(!READ_ONCE(ring[0].flags),
		    "page %llu of slot %u was pushed to the ring",
		    ring[0].offset, ring[0].slot);

	pf_guest(vcpu, PF_WRITE, TEST_GPA + 6 * PAGE_SIZE, 1, 1);
	TEST_ASSERT(READ_ONCE(ring[0].flags) == KVM_DIRTY_GFN_F_DIRTY &&
		    ring[0].slot == TEST_SLOT && ring[0].offset == 6,
		    "flags %#x, slot %u, page %llu for a write to page 6",
		    ring[0].flags, ring[0].slot, ring[0].offset);
	TEST_ASSERT(!READ_ONCE(ring[1].flags), "page %llu was pushed, too",
		    ring[1].offset);
}

const struct pf_test pf_dirty_tests[] = {
	PF_TEST(dirty_log_4k),
	PF_TEST(dirty_log_thp),
	PF_TEST(dirty_log_memfd),
	PF_TEST(dirty_log_enabled_later),
	PF_TEST(dirty_log_keeps_dirty),
	PF_TEST(dirty_ring),
	{ }
};
