// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY: the capability, the argument, and when the ioctl may be called.
 */
#define _GNU_SOURCE
#include <assert.h>

#include "../pre_fault.h"

#define NR_PAGES	16
#define SIZE		(NR_PAGES * PAGE_SIZE)

static_assert(KVM_CAP_PRE_FAULT_MEMORY == 236, "");
static_assert(sizeof(struct kvm_pre_fault_memory) == 64, "");
static_assert(offsetof(struct kvm_pre_fault_memory, gpa) == 0, "");
static_assert(offsetof(struct kvm_pre_fault_memory, size) == 8, "");
static_assert(offsetof(struct kvm_pre_fault_memory, flags) == 16, "");
static_assert(offsetof(struct kvm_pre_fault_memory, padding) == 24, "");
static_assert(KVM_PRE_FAULT_MEMORY ==
	      _IOWR(0xAE, 0xd5, struct kvm_pre_fault_memory), "");

static void cap_on_dev_kvm_and_vm(void)
{
	struct kvm_vm *vm = vm_create_barebones();
	int cap = kvm_check_cap(KVM_CAP_PRE_FAULT_MEMORY);

	TEST_ASSERT(cap == 1, "the capability reads %d on /dev/kvm", cap);
	cap = vm_check_cap(vm, KVM_CAP_PRE_FAULT_MEMORY);
	TEST_ASSERT(cap == 1, "the capability reads %d on the VM", cap);
}

/* A fresh vCPU with a memslot of NR_PAGES at TEST_GPA. */
static struct kvm_vcpu *vcpu_with_slot(void)
{
	struct kvm_vcpu *vcpu = pf_raw_vcpu();

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, SIZE,
				  pf_mem(PF_ANON, SIZE, 0));
	return vcpu;
}

static void assert_nothing_done(struct kvm_vcpu *vcpu,
				const struct pf_stats *before)
{
	struct pf_stats now = pf_stats(vcpu);

	TEST_ASSERT(!memcmp(&now, before, sizeof(now)),
		    "a call that failed changed the statistics: %lu pages pre-faulted, %lu faults, %lu pages mapped",
		    now.prefaulted - before->prefaulted,
		    now.taken - before->taken,
		    now.pages_4k - before->pages_4k);
}

static void fresh_vcpu(void)
{
	struct kvm_vcpu *vcpu = pf_raw_vcpu();
	struct pf_stats before = pf_stats(vcpu), d;

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, SIZE,
				  pf_mem(PF_ANON, SIZE, 0));
	pf_map(vcpu, TEST_GPA, SIZE);

	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(pf_prefaulted(&d, NR_PAGES) && pf_mapped(&d, NR_PAGES, 0),
		    "%lu pages counted, %lu mapped", d.prefaulted, d.pages_4k);
}

static void check_einval(uint64_t gpa, uint64_t size, uint64_t flags)
{
	struct kvm_vcpu *vcpu = vcpu_with_slot();
	struct kvm_pre_fault_memory range = {
		.gpa = gpa,
		.size = size,
		.flags = flags,
		.padding = { -1ull, -2ull, -3ull, -4ull, -5ull },
	}, old = range;
	struct pf_stats before = pf_stats(vcpu);
	int ret = pf_call(vcpu, &range);

	TEST_ASSERT(ret == EINVAL,
		    "gpa %#lx, size %#lx, flags %#lx: errno %d (%s)",
		    gpa, size, flags, ret, strerror(ret));
	TEST_ASSERT(!memcmp(&range, &old, sizeof(range)),
		    "gpa %#lx, size %#lx, flags %#lx: the struct was changed",
		    gpa, size, flags);
	assert_nothing_done(vcpu, &before);
	kvm_vm_free(vcpu->vm);
}

static void einval_flags(void)
{
	check_einval(TEST_GPA, SIZE, 1);
	check_einval(TEST_GPA, SIZE, 2);
	check_einval(TEST_GPA, SIZE, 1ull << 32);
	check_einval(TEST_GPA, SIZE, 1ull << 63);
	check_einval(TEST_GPA, SIZE, -1ull);
}

static void einval_gpa_unaligned(void)
{
	check_einval(TEST_GPA + 1, PAGE_SIZE, 0);
	check_einval(TEST_GPA + PAGE_SIZE / 2, PAGE_SIZE, 0);
	check_einval(TEST_GPA - 1, PAGE_SIZE, 0);
	/* EINVAL is also returned where there is no memslot. */
	check_einval(1, PAGE_SIZE, 0);
}

static void einval_size_unaligned(void)
{
	check_einval(TEST_GPA, 1, 0);
	check_einval(TEST_GPA, PAGE_SIZE - 1, 0);
	check_einval(TEST_GPA, PAGE_SIZE + 1, 0);
	/* The end is aligned, but nothing else is. */
	check_einval(TEST_GPA + PAGE_SIZE / 2, PAGE_SIZE / 2, 0);
}

static void einval_size_zero(void)
{
	check_einval(TEST_GPA, 0, 0);
	check_einval(0, 0, 0);
}

static void einval_wrap(void)
{
	/* The end is 2^64, i.e. 0. */
	check_einval(-PAGE_SIZE, PAGE_SIZE, 0);
	check_einval(TEST_GPA, -TEST_GPA, 0);
	/* Beyond 2^64 */
	check_einval(-PAGE_SIZE, 2 * PAGE_SIZE, 0);
	check_einval(TEST_GPA, -PAGE_SIZE, 0);
	check_einval(TEST_GPA, -TEST_GPA + PAGE_SIZE, 0);
}

/* A request that the kernel can read, but not write to. */
static struct kvm_pre_fault_memory *readonly_struct(uint64_t flags)
{
	struct kvm_pre_fault_memory *range;

	range = pf_mmap(PAGE_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1);
	range->gpa = TEST_GPA;
	range->size = SIZE;
	range->flags = flags;
	TEST_ASSERT(!mprotect(range, PAGE_SIZE, PROT_READ), "mprotect()");
	return range;
}

static void einval_struct_not_written(void)
{
	struct kvm_vcpu *vcpu = vcpu_with_slot();
	struct kvm_pre_fault_memory *range = readonly_struct(1);

	TEST_ASSERT(pf_call(vcpu, range) == EINVAL, "errno %d", errno);
}

static void einval_nothing_else(void)
{
	struct kvm_vcpu *vcpu = vcpu_with_slot();
	uint64_t gpa;

	/* pf_expect() fills the padding with non-zero values. */
	pf_map(vcpu, TEST_GPA, SIZE);

	/* A size beyond the memslot, and beyond any physical address, is valid. */
	pf_expect(vcpu, TEST_GPA, SZ_1G, 0, SIZE);
	pf_expect(vcpu, TEST_GPA, 1ull << 50, 0, SIZE);
	pf_expect(vcpu, TEST_GPA, -TEST_GPA - PAGE_SIZE, 0, SIZE);

	/* No guest can have memory there, whatever its CPUID will be. */
	for (gpa = 1ull << 63; gpa >= 1ull << 36; gpa >>= 1) {
		pf_expect(vcpu, gpa, PAGE_SIZE, ENOENT, 0);
		pf_expect(vcpu, gpa + TEST_GPA, PAGE_SIZE, ENOENT, 0);
	}
	pf_expect(vcpu, -2 * PAGE_SIZE, PAGE_SIZE, ENOENT, 0);
}

static void efault_bad_pointer(void)
{
	struct kvm_vcpu *vcpu = vcpu_with_slot();
	struct pf_stats before = pf_stats(vcpu);
	struct kvm_pre_fault_memory *range;
	void *mem;

	TEST_ASSERT(pf_call(vcpu, NULL) == EFAULT, "NULL: errno %d", errno);

	mem = pf_mmap(2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1);
	TEST_ASSERT(!munmap(mem + PAGE_SIZE, PAGE_SIZE), "munmap()");
	TEST_ASSERT(pf_call(vcpu, mem + PAGE_SIZE) == EFAULT,
		    "unmapped: errno %d", errno);

	/* The last word of the padding is not there. */
	range = mem + PAGE_SIZE - sizeof(*range) + 8;
	range->gpa = TEST_GPA;
	range->size = SIZE;
	TEST_ASSERT(pf_call(vcpu, range) == EFAULT,
		    "partly mapped: errno %d", errno);
	TEST_ASSERT(range->gpa == TEST_GPA && range->size == SIZE,
		    "a struct that could not be read was written");
	assert_nothing_done(vcpu, &before);
}

/* The progress cannot be reported, so the call must not return success. */
static void efault_readonly_struct(void)
{
	struct kvm_vcpu *vcpu = vcpu_with_slot();
	struct kvm_pre_fault_memory *range = readonly_struct(0);

	TEST_ASSERT(pf_call(vcpu, range) == EFAULT, "errno %d", errno);
	TEST_ASSERT(range->gpa == TEST_GPA && range->size == SIZE,
		    "a read-only struct was written");
}

static void expect_eio(const void *arg)
{
	struct kvm_vcpu *const *vcpu = arg;

	pf_expect(*vcpu, TEST_GPA, SIZE, EIO, 0);
}

static void eio_other_process(void)
{
	struct kvm_vcpu *vcpu = vcpu_with_slot();
	struct pf_stats before = pf_stats(vcpu);
	int status = pf_in_child(expect_eio, &vcpu);

	TEST_ASSERT(!status,
		    "the other process ended with status %#x", status);
	assert_nothing_done(vcpu, &before);
	pf_map(vcpu, TEST_GPA, SIZE);
}

const struct pf_test pf_argument_tests[] = {
	PF_TEST_TDP(cap_on_dev_kvm_and_vm),
	PF_TEST(fresh_vcpu),
	PF_TEST(einval_flags),
	PF_TEST(einval_gpa_unaligned),
	PF_TEST(einval_size_unaligned),
	PF_TEST(einval_size_zero),
	PF_TEST(einval_wrap),
	PF_TEST(einval_struct_not_written),
	PF_TEST(einval_nothing_else),
	PF_TEST(efault_bad_pointer),
	PF_TEST(efault_readonly_struct),
	PF_TEST(eio_other_process),
	{ }
};
