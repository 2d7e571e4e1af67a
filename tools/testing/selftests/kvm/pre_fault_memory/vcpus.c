// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY on many vCPUs at a time, on one that is not set up yet,
 * and on one that runs a nested guest, or will go on with it.
 */
#define _GNU_SOURCE
#include "pre_fault_memory.h"
#include "svm_util.h"
#include "vmx.h"

#define SIZE		(2 * SZ_2M)
#define NR_PAGES	(SIZE / PAGE_SIZE)
#define NR_ROUNDS	20

struct worker {
	struct kvm_vcpu *vcpu;
	pthread_barrier_t *barrier;
	uint64_t gpa;
	uint64_t size;
};

static void *worker_fn(void *arg)
{
	struct worker *w = arg;

	pthread_barrier_wait(w->barrier);
	pf_map(w->vcpu, w->gpa, w->size);
	return NULL;
}

static void run_workers(struct worker *w, unsigned int nr)
{
	pthread_t threads[MAX_TEST_VCPUS];
	pthread_barrier_t barrier;
	unsigned int i;

	pthread_barrier_init(&barrier, NULL, nr);
	for (i = 0; i < nr; i++) {
		w[i].barrier = &barrier;
		threads[i] = pf_thread(worker_fn, &w[i]);
	}
	for (i = 0; i < nr; i++)
		pf_join(threads[i]);
	pthread_barrier_destroy(&barrier);
}

static void renew_slot(struct kvm_vm *vm, uint32_t flags, void *mem)
{
	vm_set_user_memory_region(vm, TEST_SLOT, 0, TEST_GPA, 0, NULL);
	vm_set_user_memory_region(vm, TEST_SLOT, flags, TEST_GPA, SIZE, mem);
}

/* Every page is mapped by one vCPU and counted by that one. */
static void check_parallel(enum pf_backing backing, bool disjoint)
{
	struct kvm_vcpu *vcpus[MAX_TEST_VCPUS];
	struct worker w[MAX_TEST_VCPUS];
	struct kvm_vm *vm = pf_guest_vm(MAX_TEST_VCPUS, vcpus);
	void *mem = pf_mem(backing, SIZE, 1);
	unsigned int i, round;
	uint64_t leaves = 0;

	vm_set_user_memory_region(vm, TEST_SLOT, 0, TEST_GPA, SIZE, mem);

	for (round = 0; round < NR_ROUNDS; round++) {
		struct pf_stats before[MAX_TEST_VCPUS], d;
		uint64_t prefaulted = 0;

		renew_slot(vm, 0, mem);
		for (i = 0; i < MAX_TEST_VCPUS; i++) {
			w[i].vcpu = vcpus[i];
			w[i].gpa = TEST_GPA;
			w[i].size = SIZE;
			if (disjoint) {
				w[i].size /= MAX_TEST_VCPUS;
				w[i].gpa += i * w[i].size;
			}
			before[i] = pf_stats(vcpus[i]);
		}

		run_workers(w, MAX_TEST_VCPUS);

		for (i = 0; i < MAX_TEST_VCPUS; i++) {
			d = pf_stats_since(vcpus[i], &before[i]);
			prefaulted += d.prefaulted;
			if (disjoint && backing == PF_ANON)
				TEST_ASSERT(d.prefaulted == w[i].size / PAGE_SIZE,
					    "vCPU %u mapped %lu pages", i,
					    d.prefaulted);
		}
		leaves = d.pages_4k + d.pages_2m;
		TEST_ASSERT(prefaulted == NR_PAGES &&
			    d.pages_4k + 512 * d.pages_2m == NR_PAGES,
			    "%lu of %llu pages counted, mapped %lu of 4K, %lu of 2M",
			    prefaulted, NR_PAGES, d.pages_4k, d.pages_2m);
	}

	pf_guest_no_fault(vcpus[1], PF_READ, TEST_GPA, NR_PAGES, 1, leaves);
}

static void parallel_same_range(void)
{
	check_parallel(PF_ANON, false);
}

static void parallel_same_range_thp(void)
{
	check_parallel(PF_THP, false);
}

static void parallel_disjoint(void)
{
	check_parallel(PF_ANON, true);
}

/* The guest runs over the range on one vCPU while others pre-fault it. */
static void parallel_with_guest(void)
{
	struct kvm_vcpu *vcpus[3];
	struct kvm_vm *vm = pf_guest_vm(3, vcpus);
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	struct pf_stats before, d;
	pthread_barrier_t barrier;
	unsigned int i, round;
	pthread_t threads[3];
	struct worker w[3];

	vm_set_user_memory_region(vm, TEST_SLOT, 0, TEST_GPA, SIZE, mem);
	pthread_barrier_init(&barrier, NULL, 3);

	for (round = 0; round < NR_ROUNDS; round++) {
		renew_slot(vm, 0, mem);
		pf_guest_stats(vcpus[0], PF_WRITE, WARM_GPA, 1, 0);
		before = pf_stats(vcpus[0]);
		for (i = 1; i < 3; i++) {
			w[i] = (struct worker) {
				.vcpu = vcpus[i],
				.barrier = &barrier,
				.gpa = TEST_GPA,
				.size = SIZE,
			};
			threads[i] = pf_thread(worker_fn, &w[i]);
		}
		pthread_barrier_wait(&barrier);
		if (round & 1) {
			pf_guest(vcpus[0], PF_WRITE, TEST_GPA, NR_PAGES, round);
			pf_guest(vcpus[0], PF_WRITE, TEST_GPA, NR_PAGES, 1);
		}
		pf_guest_check(vcpus[0], TEST_GPA, NR_PAGES, 1);
		for (i = 1; i < 3; i++)
			pf_join(threads[i]);

		d = pf_stats_since(vcpus[0], &before);
		TEST_ASSERT(d.pages_4k == NR_PAGES, "%lu pages mapped",
			    d.pages_4k);
		pf_guest_no_fault(vcpus[0], PF_READ, TEST_GPA, NR_PAGES, 1, 0);
	}
}

/* No write of the guest is lost to a pre-fault that maps read-only. */
static void parallel_with_guest_dirty_log(void)
{
	uint64_t bitmap[NR_PAGES / 64];
	struct kvm_vcpu *vcpus[2];
	struct kvm_vm *vm = pf_guest_vm(2, vcpus);
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	pthread_barrier_t barrier;
	unsigned int i, round;
	pthread_t thread;
	struct worker w;

	pthread_barrier_init(&barrier, NULL, 2);
	vm_set_user_memory_region(vm, TEST_SLOT, KVM_MEM_LOG_DIRTY_PAGES,
				  TEST_GPA, SIZE, mem);

	for (round = 0; round < NR_ROUNDS; round++) {
		if (round & 1)
			renew_slot(vm, KVM_MEM_LOG_DIRTY_PAGES, mem);
		w = (struct worker) {
			.vcpu = vcpus[1],
			.barrier = &barrier,
			.gpa = TEST_GPA,
			.size = SIZE,
		};
		thread = pf_thread(worker_fn, &w);
		pthread_barrier_wait(&barrier);
		pf_guest(vcpus[0], PF_WRITE, TEST_GPA, NR_PAGES, round);
		pf_join(thread);

		memset(bitmap, 0, sizeof(bitmap));
		kvm_vm_get_dirty_log(vm, TEST_SLOT, bitmap);
		for (i = 0; i < NR_PAGES / 64; i++)
			TEST_ASSERT(bitmap[i] == -1ul,
				    "written but not dirty: pages %u on, %#lx",
				    i * 64, ~bitmap[i]);
		pf_guest_check(vcpus[0], TEST_GPA, NR_PAGES, round);
	}
}

/* All that is set afterwards finds the memory mapped already. */
static void before_set_cpuid(void)
{
	struct kvm_vm *vm = vm_create(2);
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm, 0), *model;
	struct kvm_sregs sregs, old_sregs;
	struct kvm_regs regs;

	vm_set_user_memory_region(vm, TEST_SLOT, 0, TEST_GPA, SIZE,
				  pf_mem(PF_ANON, SIZE, 1));
	pf_map(vcpu, TEST_GPA, SIZE);

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
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
}

#define L2_STACK_WORDS	64

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
			void (*vmx_main)(void), unsigned long *stack,
			uint64_t root)
{
	struct svm_test_data *svm = arg;
	struct vmx_pages *vmx = arg;

	if (this_cpu_has(X86_FEATURE_SVM)) {
		generic_svm_setup(svm, svm_main, stack);
		if (root) {
			svm->vmcb->control.nested_ctl = SVM_NESTED_CTL_NP_ENABLE;
			svm->vmcb->control.nested_cr3 = root;
		}
		run_guest(svm->vmcb, svm->vmcb_gpa);
	} else {
		GUEST_ASSERT(prepare_for_vmx_operation(vmx));
		GUEST_ASSERT(load_vmcs(vmx));
		vmx->eptp_gpa = root;
		prepare_vmcs(vmx, vmx_main, stack);
		GUEST_ASSERT(!vmlaunch());
	}
}

static void l1_guest(void *arg)
{
	unsigned long l2_stack[L2_STACK_WORDS];

	GUEST_SYNC(FROM_L1);
	l1_start_l2(arg, l2_svm, l2_vmx, &l2_stack[L2_STACK_WORDS], 0);
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

/* What L1 needs to start L2 */
static vm_vaddr_t alloc_nested(struct kvm_vm *vm)
{
	vm_vaddr_t arg;

	if (kvm_cpu_has(X86_FEATURE_SVM))
		vcpu_alloc_svm(vm, &arg);
	else if (kvm_cpu_has(X86_FEATURE_VMX))
		vcpu_alloc_vmx(vm, &arg);
	else
		pf_skip("no nested virtualization");
	return arg;
}

static void eopnotsupp_nested_guest(void)
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
	/* Mapped or not, in a memslot or not: L2's tables are not by our gpa. */
	pf_expect(vcpu, TEST_GPA, SIZE, EOPNOTSUPP, 0);
	pf_expect(vcpu, TEST_GPA + SIZE / 2, SIZE, EOPNOTSUPP, 0);
	pf_expect(vcpu, TEST_GPA + SIZE, SIZE, EOPNOTSUPP, 0);
	TEST_ASSERT(pf_call(vcpu, &range) == EINVAL,
		    "EINVAL goes before EOPNOTSUPP");
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(d.prefaulted == NR_PAGES / 2, "%lu pages pre-faulted",
		    d.prefaulted);

	run_to(vcpu, DONE_L2);
	pf_map(vcpu, TEST_GPA, SIZE);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(d.prefaulted == NR_PAGES, "%lu pages pre-faulted",
		    d.prefaulted);
}

/*
 * L1's nested page tables. Besides the memory types of EPT, which KVM makes no
 * use of, and its Accessed and Dirty bits, EPT and NPT agree on what is where.
 */
enum { NESTED_PML4, NESTED_PDPT, NESTED_LOW_PD, NESTED_TEST_PD, NESTED_TABLES };

#define NESTED_TABLE		7ul
#define NESTED_2M		(NESTED_TABLE | BIT_ULL(7))
#define INVEPT_GLOBAL		2ul

static uint64_t l2_word;
/* Not on L1's stack, which is not aligned as the compiler takes it to be. */
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

/* Start L2 over, with nothing in the TLB of what the tables were before. */
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
	unsigned long l2_stack[L2_STACK_WORDS];

	l1_start_l2(arg, l2_svm_read, l2_vmx_read, &l2_stack[L2_STACK_WORDS],
		    root);
	GUEST_SYNC(FROM_L1);
	WRITE_ONCE(*pde, (TEST_GPA + SZ_2M) | NESTED_2M);
	l1_restart_l2(arg);
	GUEST_SYNC(DONE_L2);
}

/* Map L1's low memory, and 2M at TEST_GPA, where they are. */
static vm_vaddr_t alloc_nested_tables(struct kvm_vm *vm)
{
	vm_vaddr_t gva = vm_vaddr_alloc_pages(vm, NESTED_TABLES);
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
 * KVM shadows L1's nested page tables, for which it has to notice all writes to
 * them: pre-faulting must not make them writable like the memory around.
 */
static void batch_shadow_pages(void)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = vm_create_with_one_vcpu(&vcpu, l1_remap);
	struct kvm_userspace_memory_region *low = &memslot2region(vm, 0)->region;
	void *mem = (void *)low->userspace_addr;
	vm_vaddr_t arg, tables;
	uint64_t i, writes;

	arg = alloc_nested(vm);
	if (kvm_cpu_has(X86_FEATURE_VMX) && !kvm_vm_has_ept(vm))
		pf_skip("no nested EPT");
	tables = alloc_nested_tables(vm);
	vcpu_args_set(vcpu, 3, arg, addr_gva2gpa(vm, tables),
		      tables + NESTED_TEST_PD * PAGE_SIZE);
	vm_set_user_memory_region(vm, TEST_SLOT, 0, TEST_GPA, SIZE,
				  pf_mem(PF_ANON, SIZE, 1));
	virt_map_level(vm, TEST_GPA, TEST_GPA, SZ_2M, PG_LEVEL_2M);

	run_to(vcpu, FROM_L1);
	expect_l2_word(vm, TEST_GPA);

	/* L1's and L2's mappings go, the shadow page tables stay. */
	TEST_ASSERT(!mprotect(mem, low->memory_size, PROT_READ) &&
		    !mprotect(mem, low->memory_size, PROT_READ | PROT_WRITE),
		    "mprotect()");
	/* Have the host map all of it writable, again or for the first time. */
	for (i = 0; i < low->memory_size; i += PAGE_SIZE) {
		uint64_t *word = mem + i;

		WRITE_ONCE(*word, READ_ONCE(*word));
	}
	pf_map_pages(vcpu, low->guest_phys_addr, low->memory_size,
		     low->memory_size / PAGE_SIZE);

	writes = vm_get_stat(vm, "mmu_pte_write");
	run_to(vcpu, DONE_L2);
	expect_l2_word(vm, TEST_GPA + SZ_2M);
	TEST_ASSERT(vm_get_stat(vm, "mmu_pte_write") > writes,
		    "KVM has not shadowed the page directory");
}

const struct pf_test pf_vcpu_tests[] = {
	PF_TEST(parallel_same_range),
	PF_TEST(parallel_same_range_thp),
	PF_TEST(parallel_disjoint),
	PF_TEST(parallel_with_guest),
	PF_TEST(parallel_with_guest_dirty_log),
	PF_TEST(before_set_cpuid),
	PF_TEST(eopnotsupp_nested_guest),
	PF_TEST(batch_shadow_pages),
	{ }
};
