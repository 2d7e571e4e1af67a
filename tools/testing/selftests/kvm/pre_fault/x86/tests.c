// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY: tests for x86 only: shadow paging, SMM, CPUID, SPTEs in the
 * trace, NX huge pages. Nested guests are in nested.c.
 */
#define _GNU_SOURCE
#include "../pre_fault.h"
#include "nested.h"

#define NR_PAGES	16
#define SIZE		(NR_PAGES * PAGE_SIZE)
#define MANY_PAGES	1024
#define MANY_SIZE	(MANY_PAGES * PAGE_SIZE)

/* The Accessed bit of a leaf SPTE, and the bits that make it present in EPT */
#define NPT_ACCESSED	BIT_ULL(5)
#define EPT_ACCESSED	BIT_ULL(8)
#define EPT_RWX		GENMASK_ULL(2, 0)

static void cap_absent_shadow_paging(void)
{
	int cap = kvm_check_cap(KVM_CAP_PRE_FAULT_MEMORY);

	TEST_ASSERT(!cap, "the capability reads %d on /dev/kvm", cap);
	cap = vm_check_cap(vm_create_barebones(), KVM_CAP_PRE_FAULT_MEMORY);
	TEST_ASSERT(!cap, "the capability reads %d on the VM", cap);
}

static void assert_same_stats(struct kvm_vcpu *vcpu,
			      const struct pf_stats *before)
{
	struct pf_stats now = pf_stats(vcpu);

	TEST_ASSERT(!memcmp(&now, before, sizeof(now)),
		    "a call that failed changed the statistics");
}

static void eopnotsupp_shadow_paging(void)
{
	struct kvm_pre_fault_memory range = { .gpa = TEST_GPA, .size = 0 };
	void *mem = pf_mem(PF_ANON, SIZE, 0);
	struct kvm_vcpu *vcpu;
	struct pf_stats before;

	/* Without paging in the guest the MMU is direct, but must be refused, too. */
	vcpu = pf_raw_vcpu();
	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, SIZE, mem);
	before = pf_stats(vcpu);
	pf_expect(vcpu, TEST_GPA, SIZE, EOPNOTSUPP, 0);
	pf_expect(vcpu, 0, SIZE, EOPNOTSUPP, 0);
	assert_same_stats(vcpu, &before);
	TEST_ASSERT(pf_call(vcpu, &range) == EINVAL,
		    "EINVAL goes before EOPNOTSUPP");

	vcpu = pf_guest_vcpu();
	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, SIZE, mem);
	before = pf_stats(vcpu);
	pf_expect(vcpu, TEST_GPA, SIZE, EOPNOTSUPP, 0);
	assert_same_stats(vcpu, &before);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 0);
}

static void set_smm(struct kvm_vcpu *vcpu, bool smm)
{
	struct kvm_vcpu_events events;

	vcpu_events_get(vcpu, &events);
	events.flags = KVM_VCPUEVENT_VALID_SMM;
	events.smi.smm = smm;
	vcpu_events_set(vcpu, &events);
}

static void smm_address_space(void)
{
	struct kvm_vcpu *vcpu = pf_raw_vcpu();
	uint64_t smram = TEST_GPA + SIZE;
	struct pf_stats before, d;

	if (!vm_check_cap(vcpu->vm, KVM_CAP_X86_SMM) ||
	    vm_check_cap(vcpu->vm, KVM_CAP_MULTI_ADDRESS_SPACE) < 2)
		pf_skip("no SMM");

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, SIZE,
				  pf_mem(PF_ANON, SIZE, 0));
	vm_set_user_memory_region(vcpu->vm, 1 << 16 | TEST_SLOT, 0, smram, SIZE,
				  pf_mem(PF_ANON, SIZE, 0));

	before = pf_stats(vcpu);
	pf_expect(vcpu, smram, SIZE, ENOENT, 0);
	set_smm(vcpu, true);
	pf_map(vcpu, smram, SIZE);
	pf_expect(vcpu, TEST_GPA, SIZE, ENOENT, 0);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(pf_prefaulted(&d, NR_PAGES), "%lu pages pre-faulted",
		    d.prefaulted);

	set_smm(vcpu, false);
	pf_expect(vcpu, smram, SIZE, ENOENT, 0);
	pf_map(vcpu, TEST_GPA, SIZE);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(pf_prefaulted(&d, 2 * NR_PAGES), "%lu pages pre-faulted",
		    d.prefaulted);
}

/* Setting CPUID and registers after a pre-fault keeps the mappings. */
static void before_set_cpuid(void)
{
	struct kvm_vm *vm = vm_create(2);
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm, 0), *model;
	struct kvm_sregs sregs, old_sregs;
	struct kvm_regs regs;

	vm_set_user_memory_region(vm, TEST_SLOT, 0, TEST_GPA, MANY_SIZE,
				  pf_mem(PF_ANON, MANY_SIZE, 1));
	pf_map(vcpu, TEST_GPA, MANY_SIZE);

	pf_guest_map(vm);
	model = vm_vcpu_add(vm, 1, pf_guest_main);
	vcpu_args_set(model, 1, 0ul);

	vcpu_init_cpuid(vcpu, kvm_get_supported_cpuid());
	vcpu_sregs_get(vcpu, &old_sregs);
	vcpu_sregs_get(model, &sregs);
	sregs.apic_base = old_sregs.apic_base;
	vcpu_sregs_set(vcpu, &sregs);
	vcpu_regs_get(model, &regs);
	vcpu_regs_set(vcpu, &regs);

	vcpu_run(vcpu);
	pf_guest_finish(vcpu);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, MANY_PAGES, 1, MANY_PAGES);
}

/* Return how many SPTEs a line of the trace sets, and the first of them. */
static unsigned int sptes_set(const char *line, unsigned long long *gfn,
			      unsigned long long *spte)
{
	const char *one = strstr(line, "kvm_mmu_set_spte: ");
	const char *batch = strstr(line, "kvm_mmu_pre_fault_batch: ");
	unsigned int nr;

	if (one && sscanf(one, "kvm_mmu_set_spte: gfn %llx spte %llx",
			  gfn, spte) == 2)
		return 1;
	if (batch && sscanf(strchr(batch, ' '),
			    " gfn %llx npages %*u installed %u spte %llx",
			    gfn, &nr, spte) == 3)
		return nr;
	return 0;
}

/* A pre-fault is not an access: it does not set the Accessed bit. */
static void not_accessed(void)
{
	static const char * const events[] = { "kvmmmu", NULL };
	struct kvm_vcpu *vcpu = pf_raw_vcpu();
	unsigned long long gfn, spte, accessed;
	unsigned int n, nr = 0;
	char *text, *line;

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, SIZE,
				  pf_mem(PF_ANON, SIZE, 0));
	pf_trace_start(events, 0);
	pf_map(vcpu, TEST_GPA, SIZE);
	text = pf_trace_stop();

	if (!host_cpu_is_intel)
		accessed = NPT_ACCESSED;
	else if (pf_has_accessed_bit())
		accessed = EPT_ACCESSED;
	else
		accessed = EPT_RWX;

	while ((line = strsep(&text, "\n"))) {
		n = sptes_set(line, &gfn, &spte);
		if (!n || gfn < TEST_GPA >> 12 || gfn >= (TEST_GPA + SIZE) >> 12)
			continue;

		TEST_ASSERT(!(spte & accessed), "the SPTE %#llx is Accessed",
			    spte);
		nr += n;
	}
	TEST_ASSERT(nr == NR_PAGES, "%u SPTEs set for %d pages", nr, NR_PAGES);
}

/* Pre-faulted memory can be executed, too. */
static void exec_pre_faulted(void)
{
	void *mem = pf_mem(PF_ANON, MANY_SIZE, 1);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, MANY_SIZE);

	pf_map_pages(vcpu, TEST_GPA, MANY_SIZE, MANY_PAGES);
	pf_guest_no_fault(vcpu, PF_EXEC, TEST_GPA, MANY_PAGES, 1, MANY_PAGES);
}

#define NX_HUGE_PAGES	"/sys/module/kvm/parameters/nx_huge_pages"

static char nx_huge_pages[8];

static void restore_nx_huge_pages(void)
{
	pf_write_str(NX_HUGE_PAGES, nx_huge_pages);
}

static void force_nx_huge_pages(void)
{
	int fd = open(NX_HUGE_PAGES, O_RDONLY);

	if (fd < 0 || read(fd, nx_huge_pages, sizeof(nx_huge_pages) - 1) < 1)
		pf_skip("no parameter nx_huge_pages");
	close(fd);
	atexit(restore_nx_huge_pages);
	if (pf_write_str(NX_HUGE_PAGES, "force"))
		pf_skip("no NX huge pages: %s", strerror(errno));
}

/*
 * With NX huge pages, KVM replaces a huge page with 4K mappings when the guest executes
 * code there. A pre-fault must map the rest at 4K, and not restore the huge page.
 */
static void nx_huge_pages_forced(void)
{
	struct kvm_vcpu *vcpu;
	struct pf_stats d;
	uint64_t nr;
	void *mem;

	force_nx_huge_pages();
	mem = pf_mem(PF_THP, MANY_SIZE, 1);
	vcpu = pf_memory_vcpu(0, mem, MANY_SIZE);
	d = pf_stats(vcpu);
	pf_map(vcpu, TEST_GPA, MANY_SIZE);
	d = pf_stats_since(vcpu, &d);
	if (!d.pages_2m)
		pf_skip("KVM does not map huge pages here");

	d = pf_guest_stats(vcpu, PF_EXEC, TEST_GPA + 7 * PAGE_SIZE, 1, 1);
	TEST_ASSERT((int64_t)d.pages_2m == -1 && d.pages_4k,
		    "mapped %+ld/%+ld pages of 4K/2M to run code",
		    (long)d.pages_4k, (long)d.pages_2m);

	nr = 512 - d.pages_4k;
	pf_map_pages(vcpu, TEST_GPA, MANY_SIZE, nr);
	d = pf_guest_stats(vcpu, PF_EXEC, TEST_GPA, 512, 1);
	TEST_ASSERT(d.taken == (pf_has_accessed_bit() ? 0 : d.fast),
		    "%lu faults taken to run code", d.taken);
	pf_guest_check(vcpu, TEST_GPA, MANY_PAGES, 1);
}

const struct pf_test pf_arch_tests[] = {
	PF_TEST_SHADOW(cap_absent_shadow_paging),
	PF_TEST_SHADOW(eopnotsupp_shadow_paging),
	PF_TEST(smm_address_space),
	PF_TEST(before_set_cpuid),
	PF_TEST(eopnotsupp_nested_guest),
	PF_TEST(not_accessed),
	PF_TEST_BATCH(exec_pre_faulted),
	PF_TEST_BATCH(nested_shadow_pages),
	PF_TEST_BATCH(nx_huge_pages_forced),
	{ }
};
