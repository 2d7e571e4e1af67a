// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY over existing mappings: the call succeeds and changes no SPTE.
 * huge_pages.c has the same for mappings of 2M.
 */
#define _GNU_SOURCE
#include "mapping.h"

#define SIZE		(2 * SZ_2M)
#define NR_PAGES	(SIZE / PAGE_SIZE)

void mapping_changes_nothing(struct kvm_vcpu *vcpu, uint64_t gpa, uint64_t size)
{
	struct pf_stats before = pf_stats(vcpu), after;

	pf_map(vcpu, gpa, size);
	after = pf_stats(vcpu);
	TEST_ASSERT(!memcmp(&before, &after, sizeof(before)),
		    "pre-faulted %lu, fixed %lu, spurious %lu, 4K %+ld, 2M %+ld",
		    after.prefaulted - before.prefaulted,
		    after.fixed - before.fixed,
		    after.spurious - before.spurious,
		    (long)(after.pages_4k - before.pages_4k),
		    (long)(after.pages_2m - before.pages_2m));
}

/* SPTEs keep the writable and the Accessed bit: the guest takes no fault. */
static void check_written(enum pf_memory memory)
{
	struct kvm_vcpu *vcpu = pf_vcpu_with(memory, SIZE);

	pf_guest(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 2);
	mapping_changes_nothing(vcpu, TEST_GPA, SIZE);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 2, 0);
	pf_guest_no_fault(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 3, 0);
}

static void existing_untouched_4k(void)
{
	check_written(PF_ANON);
}

static void existing_untouched_2m(void)
{
	check_written(pf_huge);
}

/* A pre-fault does not replace a read-only SPTE. */
static void existing_untouched_read_only(void)
{
	struct kvm_vcpu *vcpu = pf_vcpu_with(PF_FILE_NEW, SIZE);

	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 1);
	mapping_changes_nothing(vcpu, TEST_GPA, SIZE);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, 0);
}

static void pre_fault_twice(void)
{
	struct kvm_vcpu *vcpu = pf_vcpu_with(PF_ANON, SIZE);

	pf_map(vcpu, TEST_GPA, SIZE);
	mapping_changes_nothing(vcpu, TEST_GPA, SIZE);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
	mapping_changes_nothing(vcpu, TEST_GPA, SIZE);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, 0);
}

/*
 * A pre-fault skips the pages that the guest mapped and maps the others. With each
 * guest page fault the legacy MMU may map some pages around.
 */
static void existing_partly(void)
{
	struct kvm_vcpu *vcpu = pf_vcpu_with(PF_ANON, SIZE);
	struct pf_stats before, d;
	uint64_t i, missing, untouched = NR_PAGES;

	pf_guest(vcpu, PF_WRITE, WARM_GPA, 1, 0);
	before = pf_stats(vcpu);
	for (i = 3; i < NR_PAGES; i += 27, untouched--)
		pf_guest(vcpu, PF_WRITE, TEST_GPA + i * PAGE_SIZE, 1, 1);
	d = pf_stats_since(vcpu, &before);
	missing = NR_PAGES - pf_mapped_by_guest(&d);

	before = pf_stats(vcpu);
	pf_map(vcpu, TEST_GPA, SIZE);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(pf_prefaulted(&d, missing) && pf_mapped(&d, missing, 0) &&
		    missing,
		    "%lu pages pre-faulted, %lu mapped, expected %lu",
		    d.prefaulted, d.pages_4k, missing);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, untouched);
}

const struct pf_test pf_already_mapped_tests[] = {
	PF_TEST(existing_untouched_4k),
	PF_TEST(existing_untouched_2m),
	PF_TEST(existing_untouched_read_only),
	PF_TEST(existing_partly),
	PF_TEST(pre_fault_twice),
	{ }
};
