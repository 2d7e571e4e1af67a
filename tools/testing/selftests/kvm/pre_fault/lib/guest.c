// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest of the KVM_PRE_FAULT_MEMORY tests: reads or writes the pages that
 * the host names, one command after the other.
 */
#include "../pre_fault.h"

struct guest_cmd {
	uint64_t op;
	uint64_t gpa;
	uint64_t npages;
	uint64_t seed;
	uint64_t wrong;
};

/* The VM has copies of these in memslot 0; only the copies are used. */
static struct guest_cmd guest_cmds[MAX_TEST_VCPUS];
static uint8_t guest_plan[PF_PLAN_PAGES] __aligned(4096);

static void guest_access(struct guest_cmd *cmd, uint64_t gpa)
{
	bool planned = cmd->op == PF_READ_PLAN || cmd->op == PF_WRITE_PLAN;
	uint64_t i = (gpa - TEST_GPA) / PAGE_SIZE;
	uint64_t *page = (uint64_t *)gpa;
	uint64_t seed = cmd->seed, first, last;

	/* Read the plan for each command, so that a warm-up maps the plan, too. */
	if (READ_ONCE(guest_plan[i % PF_PLAN_PAGES]) == PF_SKIP &&
	    planned && i < PF_PLAN_PAGES)
		return;
	if (planned && i < PF_PLAN_PAGES)
		seed = guest_plan[i];

	first = pf_pattern(gpa, seed);
	last = ~first;
	if (planned && seed == PF_ZEROS) {
		first = 0;
		last = 0;
	}

	if (cmd->op == PF_EXEC) {
		((void (*)(void))(gpa + PF_CODE))();
	} else if (cmd->op == PF_WRITE || cmd->op == PF_WRITE_PLAN) {
		WRITE_ONCE(page[0], first);
		WRITE_ONCE(page[511], last);
	} else {
		cmd->wrong += READ_ONCE(page[0]) != first;
		cmd->wrong += READ_ONCE(page[511]) != last;
	}
}

static void guest_run(struct guest_cmd *cmd)
{
	uint64_t gpa, end = cmd->gpa + cmd->npages * PAGE_SIZE;

	cmd->wrong = 0;
	switch (cmd->op) {
	case PF_TOUCH:
		for (gpa = cmd->gpa; gpa < end; gpa += PAGE_SIZE)
			READ_ONCE(*(uint64_t *)gpa);
		return;
	case PF_DIRTY:
		for (gpa = cmd->gpa; gpa < end; gpa += PAGE_SIZE)
			WRITE_ONCE(*(uint64_t *)gpa, gpa);
		return;
	default:
		break;
	}

	for (gpa = cmd->gpa; gpa < end; gpa += PAGE_SIZE)
		guest_access(cmd, gpa);
}

void pf_guest_main(uint64_t id)
{
	for (;;) {
		GUEST_SYNC(0);
		guest_run(&guest_cmds[id]);
	}
}

static struct guest_cmd *guest_cmd(struct kvm_vcpu *vcpu)
{
	return addr_gva2hva(vcpu->vm, (gva_t)&guest_cmds[vcpu->id]);
}

uint64_t pf_guest_finish(struct kvm_vcpu *vcpu)
{
	struct ucall uc;

	TEST_ASSERT(get_ucall(vcpu, &uc) == UCALL_SYNC,
		    "the guest stopped with exit reason %d (%s)",
		    vcpu->run->exit_reason,
		    exit_reason_str(vcpu->run->exit_reason));
	return guest_cmd(vcpu)->wrong;
}

void pf_plan(struct kvm_vcpu *vcpu, const uint8_t *seeds, uint64_t npages)
{
	uint8_t *plan = addr_gva2hva(vcpu->vm, (gva_t)guest_plan);

	TEST_ASSERT(npages <= PF_PLAN_PAGES, "a plan of %lu pages", npages);
	memcpy(plan, seeds, npages);
	memset(plan + npages, PF_SKIP, PF_PLAN_PAGES - npages);
}

void pf_guest_order(struct kvm_vcpu *vcpu, enum pf_op op, uint64_t gpa,
		    uint64_t npages, uint64_t seed)
{
	*guest_cmd(vcpu) = (struct guest_cmd) {
		.op = op,
		.gpa = gpa,
		.npages = npages,
		.seed = seed,
	};
}

unsigned int pf_guest_start(struct kvm_vcpu *vcpu, enum pf_op op, uint64_t gpa,
			    uint64_t npages, uint64_t seed)
{
	pf_guest_order(vcpu, op, gpa, npages, seed);
	vcpu_run(vcpu);
	return vcpu->run->exit_reason;
}

uint64_t pf_guest(struct kvm_vcpu *vcpu, enum pf_op op, uint64_t gpa,
		  uint64_t npages, uint64_t seed)
{
	pf_guest_start(vcpu, op, gpa, npages, seed);
	return pf_guest_finish(vcpu);
}

bool pf_guest_mmio(struct kvm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	return run->exit_reason == KVM_EXIT_MMIO &&
	       run->mmio.phys_addr >= TEST_GPA &&
	       run->mmio.phys_addr < TEST_GPA + SZ_1G;
}

struct kvm_vcpu *pf_raw_vcpu(void)
{
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm_create_barebones(), 0);

	pf_arch_vcpu_init(vcpu);
	return vcpu;
}

void pf_guest_map(struct kvm_vm *vm)
{
	void *warm = pf_mmap(PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1);

	TEST_ASSERT(warm != MAP_FAILED, "mmap()");
	pf_fill(warm, WARM_GPA, PAGE_SIZE, 0);
	vm_set_user_memory_region(vm, WARM_SLOT, 0, WARM_GPA, PAGE_SIZE, warm);
	pf_arch_map(vm, TEST_GPA, SZ_1G);
}

struct kvm_vm *pf_guest_vm(unsigned int nr_vcpus, struct kvm_vcpu *vcpus[])
{
	struct kvm_vm *vm;
	unsigned int i;

	TEST_ASSERT(nr_vcpus <= MAX_TEST_VCPUS, "%u vCPUs", nr_vcpus);
	vm = vm_create_with_vcpus(nr_vcpus, pf_guest_main, vcpus);
	pf_guest_map(vm);

	for (i = 0; i < nr_vcpus; i++) {
		vcpu_args_set(vcpus[i], 1, (uint64_t)i);
		vcpu_run(vcpus[i]);
		pf_guest_finish(vcpus[i]);
	}

	return vm;
}

struct kvm_vcpu *pf_guest_vcpu(void)
{
	struct kvm_vcpu *vcpu;

	pf_guest_vm(1, &vcpu);
	return vcpu;
}

struct kvm_vcpu *pf_memory_vcpu(uint32_t flags, void *mem, uint64_t size)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, flags, TEST_GPA, size,
				  mem);
	return vcpu;
}

struct kvm_vcpu *pf_vcpu_with(enum pf_memory memory, uint64_t size)
{
	return pf_memory_vcpu(0, pf_mem(memory, size, 1), size);
}

void pf_add_slot(struct kvm_vm *vm, uint32_t slot, uint64_t gpa, uint64_t size,
		 void *mem)
{
	vm_set_user_memory_region(vm, slot, 0, gpa, size, mem);
}

void pf_renew_slot(struct kvm_vm *vm, uint64_t size, void *mem)
{
	pf_add_slot(vm, TEST_SLOT, TEST_GPA, 0, NULL);
	pf_add_slot(vm, TEST_SLOT, TEST_GPA, size, mem);
}

struct pf_stats pf_guest_stats(struct kvm_vcpu *vcpu, enum pf_op op,
			       uint64_t gpa, uint64_t npages, uint64_t seed)
{
	struct pf_stats before;
	uint64_t wrong;

	/* The guest's code, stack and page tables may have been zapped. */
	pf_guest(vcpu, PF_WRITE, WARM_GPA, 1, 0);
	pf_guest(vcpu, op, WARM_GPA, 1, 0);

	before = pf_stats(vcpu);
	wrong = pf_guest(vcpu, op, gpa, npages, seed);
	TEST_ASSERT(!wrong, "guest read %lu wrong words", wrong);
	return pf_stats_since(vcpu, &before);
}

void __pf_guest_no_fault(struct kvm_vcpu *vcpu, enum pf_op op, uint64_t gpa,
			 uint64_t npages, uint64_t seed, uint64_t leaves,
			 const char *file, int line)
{
	struct pf_stats d = pf_guest_stats(vcpu, op, gpa, npages, seed);

	/*
	 * Without Accessed bits in the SPTEs, the first access to a mapping and the
	 * first write after that fault. KVM handles these faults without mmu_lock.
	 */
	if (pf_has_accessed_bit())
		leaves = 0;

	test_assert(d.taken == leaves && d.fast == leaves,
		    "the guest takes no stage-2 fault", file, line,
		    "gpa %#lx, %lu pages: %lu faults taken, of them %lu fast, %lu fixed; expected %lu",
		    gpa, npages, d.taken, d.fast, d.fixed, leaves);
	test_assert(!d.pages_4k && !d.pages_2m && !d.pages_1g,
		    "the guest's accesses change no mapping", file, line,
		    "gpa %#lx, %lu pages: mappings of 4K %+ld, of 2M %+ld, of 1G %+ld",
		    gpa, npages, (long)d.pages_4k, (long)d.pages_2m,
		    (long)d.pages_1g);
}
