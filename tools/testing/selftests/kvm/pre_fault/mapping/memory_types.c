// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY over each type of host memory: the mapping is the same as after
 * the guest's own fault, which is avoided. huge_pages.c has THP and hugetlb.
 */
#define _GNU_SOURCE
#include "mapping.h"

#define SIZE		(2 * SZ_2M)
#define NR_PAGES	(SIZE / PAGE_SIZE)

/* Three page tables */
#define MANY_PAGES	1536
#define MANY_SIZE	(MANY_PAGES * PAGE_SIZE)

/*
 * The guest faults in one half, the ioctl the other: both halves have to end up
 * mapped alike, and the guest must not fault on the second.
 */
void mapping_check_like_guest(enum pf_memory memory, size_t half)
{
	void *mem = pf_mem(memory, 2 * half, 1);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, 2 * half);
	struct pf_stats guest, pre, before;
	uint64_t pages = half / PAGE_SIZE, leaves;

	guest = pf_guest_stats(vcpu, PF_READ, TEST_GPA, pages, 1);
	leaves = guest.pages_4k + guest.pages_2m + guest.pages_1g;
	TEST_ASSERT(guest.taken && (leaves || !pf_counts_mappings),
		    "%lu faults for %lu leaves", guest.taken, leaves);
	if ((memory == pf_huge || memory == PF_HUGETLB_2M) &&
	    !pf_mapped_huge(&guest, pages))
		pf_skip("KVM does not map huge pages here");

	before = pf_stats(vcpu);
	pf_map(vcpu, TEST_GPA + half, half);
	pre = pf_stats_since(vcpu, &before);
	TEST_ASSERT(pre.pages_4k == guest.pages_4k &&
		    pre.pages_2m == guest.pages_2m &&
		    pre.pages_1g == guest.pages_1g,
		    "pre-fault mapped %lu/%lu/%lu pages of 4K/2M/1G, the guest %lu/%lu/%lu",
		    pre.pages_4k, pre.pages_2m, pre.pages_1g,
		    guest.pages_4k, guest.pages_2m, guest.pages_1g);
	TEST_ASSERT(pf_prefaulted(&pre, pages), "pf_prefaulted: %lu of %lu pages",
		    pre.prefaulted, pages);

	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA + half, pages, 1, leaves);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, 2 * pages, 1, 0);
}

static void guest_takes_no_fault_anon_4k(void)
{
	mapping_check_like_guest(PF_ANON, SIZE);
}

static void guest_takes_no_fault_memfd(void)
{
	mapping_check_like_guest(PF_MEMFD, SIZE);
}

static void guest_takes_no_fault_private_file(void)
{
	mapping_check_like_guest(PF_FILE_NEW, SIZE);
}

/* Pages that the host wrote to are writable in stage-2, too. */
static void guest_write_takes_no_fault(void)
{
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, pf_mem(PF_ANON, SIZE, 1), SIZE);

	pf_map(vcpu, TEST_GPA, SIZE);
	pf_guest_no_fault(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 2, NR_PAGES);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 2);
}

/* A pre-fault faults in host memory from the file. */
static void faults_in_host_memory(void)
{
	void *mem = pf_mem(PF_FILE_NEW, SIZE, 3);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, SIZE);

	TEST_ASSERT(!pf_smaps(mem, SIZE, "Rss"), "populated too early");
	pf_map(vcpu, TEST_GPA, SIZE);
	TEST_ASSERT(pf_smaps(mem, SIZE, "Rss") * 1024 >= SIZE,
		    "only %lu kB faulted in", pf_smaps(mem, SIZE, "Rss"));
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 3, NR_PAGES);
}

/* Types that the VMM has not mapped before the pre-fault, or maps differently */
static const enum pf_memory types[] = {
	PF_MEMFD_NEW, PF_MEMFD_PRIVATE, PF_FILE_NEW, PF_ANON_SHARED, PF_MLOCKED,
	PF_ANON_NEW,
};

static void read_all(struct kvm_vcpu *vcpu, const struct pf_memory_type *type)
{
	uint8_t plan[MANY_PAGES];

	memset(plan, type->zeros ? PF_ZEROS : 1, sizeof(plan));
	pf_plan(vcpu, plan, MANY_PAGES);
	pf_guest_no_fault(vcpu, PF_READ_PLAN, TEST_GPA, MANY_PAGES, 0, MANY_PAGES);
}

static void memory_types(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		const struct pf_memory_type *type = &pf_memory_types[types[i]];
		struct kvm_vcpu *vcpu;
		void *mem;

		pr_info("%s\n", type->help);
		mem = type->make(MANY_SIZE, 1);
		vcpu = pf_memory_vcpu(0, mem, MANY_SIZE);
		pf_map_pages(vcpu, TEST_GPA, MANY_SIZE, MANY_PAGES);
		TEST_ASSERT(type->writable || !pf_smaps(mem, MANY_SIZE, "Anonymous"),
			    "%lu kB allocated by a pre-fault",
			    pf_smaps(mem, MANY_SIZE, "Anonymous"));
		read_all(vcpu, type);
		if (type->writable)
			pf_guest_no_fault(vcpu, PF_WRITE, TEST_GPA, MANY_PAGES, 4,
					  MANY_PAGES);
		else
			pf_guest(vcpu, PF_WRITE, TEST_GPA, MANY_PAGES, 4);
		pf_guest_check(vcpu, TEST_GPA, MANY_PAGES, 4);
		kvm_vm_free(vcpu->vm);
	}
}

/* The same where two vCPUs have to fault in the host's memory, too. */
static void memory_types_parallel(void)
{
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		const struct pf_memory_type *type = &pf_memory_types[types[i]];
		struct kvm_vcpu *vcpus[2];
		struct kvm_vm *vm = pf_guest_vm(2, vcpus);
		struct pf_stats before[2], d[2];
		struct pf_mapper m[2];

		vm_set_user_memory_region(vm, TEST_SLOT, 0, TEST_GPA, MANY_SIZE,
					  type->make(MANY_SIZE, 1));
		for (j = 0; j < 2; j++) {
			before[j] = pf_stats(vcpus[j]);
			m[j] = (struct pf_mapper) { vcpus[j], TEST_GPA, MANY_SIZE };
		}
		pf_mappers_run(m, 2, NULL, NULL);
		for (j = 0; j < 2; j++)
			d[j] = pf_stats_since(vcpus[j], &before[j]);

		pr_info("%s: %lu and %lu pages\n", type->help, d[0].prefaulted,
			d[1].prefaulted);
		TEST_ASSERT(pf_mapped(&d[1], MANY_PAGES, 0), "%lu pages mapped",
			    d[1].pages_4k);
		d[0].prefaulted += d[1].prefaulted;
		d[0].fixed += d[1].fixed;
		TEST_ASSERT(pf_prefaulted(&d[0], MANY_PAGES) &&
			    pf_fixed(&d[0], MANY_PAGES),
			    "pf_prefaulted %lu, pf_fixed %lu", d[0].prefaulted,
			    d[0].fixed);
		read_all(vcpus[0], type);
		kvm_vm_free(vm);
	}
}

const struct pf_test pf_memory_type_tests[] = {
	PF_TEST(guest_takes_no_fault_anon_4k),
	PF_TEST(guest_takes_no_fault_memfd),
	PF_TEST(guest_takes_no_fault_private_file),
	PF_TEST(guest_write_takes_no_fault),
	PF_TEST(faults_in_host_memory),
	PF_TEST_BATCH(memory_types),
	PF_TEST_BATCH(memory_types_parallel),
	{ }
};
