// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY on a vCPU that runs a nested guest.
 */
#define _GNU_SOURCE
#include "../pre_fault.h"
#include "nested.h"

#define SIZE		(2 * SZ_2M)
#define NR_PAGES	(SIZE / PAGE_SIZE)

enum { FROM_L1 = 1, FROM_L2, DONE_L2 };

static void l2_svm(void)
{
	GUEST_SYNC(FROM_L2);
	asm volatile("vmmcall" : : : "memory");
}

static void l2_vmx(void)
{
	GUEST_SYNC(FROM_L2);
	vmcall();
}

/* Start L2, with nested paging if there is a @root for it. */
static void l1_start_l2(void *arg, void (*svm_main)(void),
			void (*vmx_main)(void), uint64_t root)
{
	struct svm_test_data *svm = arg;
	struct vmx_pages *vmx = arg;

	if (this_cpu_has(X86_FEATURE_SVM)) {
		svm_prepare_l2(svm, svm_main, root);
		run_guest(svm->vmcb, svm->vmcb_gpa);
	} else {
		GUEST_ASSERT(prepare_for_vmx_operation(vmx));
		GUEST_ASSERT(load_vmcs(vmx));
		vmx_prepare_l2(vmx, vmx_main, root);
		GUEST_ASSERT(!vmlaunch());
	}
}

static void l1_guest(void *arg)
{
	GUEST_SYNC(FROM_L1);
	l1_start_l2(arg, l2_svm, l2_vmx, 0);
	GUEST_SYNC(DONE_L2);
}

static void run_to(struct kvm_vcpu *vcpu, uint64_t stage)
{
	struct ucall uc;

	vcpu_run(vcpu);
	TEST_ASSERT(get_ucall(vcpu, &uc) == UCALL_SYNC && uc.args[1] == stage,
		    "ucall %lu, stage %lu instead of %lu, exit reason %s", uc.cmd,
		    uc.args[1], stage, exit_reason_str(vcpu->run->exit_reason));
}

/* Allocate the pages that L1 needs to start L2. */
static gva_t alloc_nested(struct kvm_vm *vm)
{
	gva_t arg;

	if (kvm_cpu_has(X86_FEATURE_SVM))
		vcpu_alloc_svm(vm, &arg);
	else if (kvm_cpu_has(X86_FEATURE_VMX))
		vcpu_alloc_vmx(vm, &arg);
	else
		pf_skip("no nested virtualization");
	return arg;
}

void eopnotsupp_nested_guest(void)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = vm_create_with_one_vcpu(&vcpu, l1_guest);
	struct kvm_pre_fault_memory range = { .gpa = TEST_GPA };
	struct pf_stats before, d;

	vcpu_args_set(vcpu, 1, alloc_nested(vm));
	vm_set_user_memory_region(vm, TEST_SLOT, 0, TEST_GPA, SIZE,
				  pf_mem(PF_ANON, SIZE, 1));

	before = pf_stats(vcpu);
	run_to(vcpu, FROM_L1);
	pf_map(vcpu, TEST_GPA, SIZE / 2);
	run_to(vcpu, FROM_L2);
	if (PF_REFUSES_L2) {
		/* Mapped, not mapped, and not in a memslot */
		pf_expect(vcpu, TEST_GPA, SIZE, EOPNOTSUPP, 0);
		pf_expect(vcpu, TEST_GPA + SIZE / 2, SIZE, EOPNOTSUPP, 0);
		pf_expect(vcpu, TEST_GPA + SIZE, SIZE, EOPNOTSUPP, 0);
	} else {
		/* L2's page tables are indexed by gpa, as L1's are. */
		pf_map(vcpu, TEST_GPA, SIZE);
		pf_expect(vcpu, TEST_GPA + SIZE, SIZE, ENOENT, 0);
	}
	TEST_ASSERT(pf_call(vcpu, &range) == EINVAL,
		    "EINVAL goes before EOPNOTSUPP");
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(!PF_REFUSES_L2 || pf_prefaulted(&d, NR_PAGES / 2),
		    "%lu pages pre-faulted", d.prefaulted);

	run_to(vcpu, DONE_L2);
	pf_map(vcpu, TEST_GPA, SIZE);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(!PF_REFUSES_L2 || pf_prefaulted(&d, NR_PAGES),
		    "%lu pages pre-faulted", d.prefaulted);
}

/*
 * L1's nested page tables. EPT and NPT have the same layout, except for Accessed and
 * Dirty bits and for EPT's memory types, which KVM ignores.
 */
enum { NESTED_PML4, NESTED_PDPT, NESTED_LOW_PD, NESTED_TEST_PD, NESTED_TABLES };

#define NESTED_TABLE		7ul
#define NESTED_2M		(NESTED_TABLE | BIT_ULL(7))
#define INVEPT_GLOBAL		2ul

static uint64_t l2_word;
/* Not on L1's stack, whose alignment is not what the compiler assumes. */
static const uint64_t invept_zeros[2];

static void l2_svm_read(void)
{
	l2_word = READ_ONCE(*(uint64_t *)TEST_GPA);
	asm volatile("vmmcall" : : : "memory");
}

static void l2_vmx_read(void)
{
	l2_word = READ_ONCE(*(uint64_t *)TEST_GPA);
	vmcall();
}

/* Restart L2, and flush the TLB of translations of the old tables. */
static void l1_restart_l2(void *arg)
{
	struct svm_test_data *svm = arg;

	l2_word = 0;
	if (this_cpu_has(X86_FEATURE_SVM)) {
		svm->vmcb->save.rip = (uint64_t)l2_svm_read;
		svm->vmcb->control.tlb_ctl = TLB_CONTROL_FLUSH_ALL_ASID;
		run_guest(svm->vmcb, svm->vmcb_gpa);
	} else {
		asm volatile("invept %0, %1" : : "m"(invept_zeros),
			     "r"(INVEPT_GLOBAL) : "cc", "memory");
		GUEST_ASSERT(!vmwrite(GUEST_RIP, (uint64_t)l2_vmx_read));
		GUEST_ASSERT(!vmresume());
	}
}

static void l1_remap(void *arg, uint64_t root, uint64_t *pde)
{
	l1_start_l2(arg, l2_svm_read, l2_vmx_read, root);
	GUEST_SYNC(FROM_L1);
	WRITE_ONCE(*pde, (TEST_GPA + SZ_2M) | NESTED_2M);
	l1_restart_l2(arg);
	GUEST_SYNC(DONE_L2);
}

/* Map L1's low memory, and 2M at TEST_GPA, one to one. */
static gva_t alloc_nested_tables(struct kvm_vm *vm)
{
	gva_t gva = vm_alloc_pages(vm, NESTED_TABLES);
	uint64_t (*tables)[512] = addr_gva2hva(vm, gva);
	uint64_t entry = addr_gva2gpa(vm, gva) | NESTED_TABLE;
	unsigned int i;

	tables[NESTED_PML4][0] = entry + NESTED_PDPT * PAGE_SIZE;
	tables[NESTED_PDPT][0] = entry + NESTED_LOW_PD * PAGE_SIZE;
	tables[NESTED_PDPT][TEST_GPA / SZ_1G] = entry + NESTED_TEST_PD * PAGE_SIZE;
	for (i = 0; i < 512; i++)
		tables[NESTED_LOW_PD][i] = i * SZ_2M | NESTED_2M;
	tables[NESTED_TEST_PD][0] = TEST_GPA | NESTED_2M;

	return gva;
}

static void expect_l2_word(struct kvm_vm *vm, uint64_t gpa)
{
	sync_global_from_guest(vm, l2_word);
	TEST_ASSERT(l2_word == pf_pattern(gpa, 1),
		    "L2 read %#lx, at %#lx is %#lx", l2_word, gpa,
		    pf_pattern(gpa, 1));
}

/*
 * KVM shadows L1's nested page tables, and write-protects them to see all writes: a
 * pre-fault must not map them writable like the memory around.
 */
void nested_shadow_pages(void)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = vm_create_with_one_vcpu(&vcpu, l1_remap);
	struct userspace_mem_region *low = memslot2region(vm, 0);
	void *mem = (void *)low->region.userspace_addr;
	gva_t arg, tables;
	uint64_t i, writes;

	arg = alloc_nested(vm);
	if (kvm_cpu_has(X86_FEATURE_VMX) && !kvm_cpu_has_ept())
		pf_skip("no nested EPT");
	tables = alloc_nested_tables(vm);
	vcpu_args_set(vcpu, 3, arg, addr_gva2gpa(vm, tables),
		      tables + NESTED_TEST_PD * PAGE_SIZE);
	vm_set_user_memory_region(vm, TEST_SLOT, 0, TEST_GPA, SIZE,
				  pf_mem(PF_ANON, SIZE, 1));
	virt_map_level(vm, TEST_GPA, TEST_GPA, SZ_2M, PG_LEVEL_2M);

	run_to(vcpu, FROM_L1);
	expect_l2_word(vm, TEST_GPA);

	/* Zap L1's and L2's mappings, but keep the shadow page tables. */
	TEST_ASSERT(!mprotect(mem, low->region.memory_size, PROT_READ) &&
		    !mprotect(mem, low->region.memory_size, PROT_READ | PROT_WRITE),
		    "mprotect()");
	/* Make all host PTEs writable. */
	for (i = 0; i < low->region.memory_size; i += PAGE_SIZE) {
		uint64_t *word = mem + i;

		WRITE_ONCE(*word, READ_ONCE(*word));
	}
	pf_map_pages(vcpu, low->region.guest_phys_addr, low->region.memory_size,
		     low->region.memory_size / PAGE_SIZE);

	writes = vm_get_stat(vm, mmu_pte_write);
	run_to(vcpu, DONE_L2);
	expect_l2_word(vm, TEST_GPA + SZ_2M);
	TEST_ASSERT(vm_get_stat(vm, mmu_pte_write) > writes,
		    "KVM has not shadowed the page directory");
}
