// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest of the KVM_PRE_FAULT_MEMORY tests: reads or writes the pages that
 * the host names, one command after the other.
 */
#include "pre_fault_memory.h"

struct guest_cmd {
	uint64_t op;
	uint64_t gpa;
	uint64_t npages;
	uint64_t seed;
	uint64_t wrong;
};

/* Used through the VM's copy only, where it is a page in memslot 0. */
static struct guest_cmd guest_cmds[MAX_TEST_VCPUS];

static void guest_run(struct guest_cmd *cmd)
{
	uint64_t gpa, want, end = cmd->gpa + cmd->npages * PAGE_SIZE;
	uint64_t *page;

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
	}

	for (gpa = cmd->gpa; gpa < end; gpa += PAGE_SIZE) {
		page = (uint64_t *)gpa;
		want = pf_pattern(gpa, cmd->seed);
		if (cmd->op == PF_WRITE) {
			WRITE_ONCE(page[0], want);
			WRITE_ONCE(page[511], ~want);
		} else {
			cmd->wrong += READ_ONCE(page[0]) != want;
			cmd->wrong += READ_ONCE(page[511]) != ~want;
		}
	}
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
	return addr_gva2hva(vcpu->vm, (vm_vaddr_t)&guest_cmds[vcpu->id]);
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

unsigned int pf_guest_start(struct kvm_vcpu *vcpu, enum pf_op op, uint64_t gpa,
			    uint64_t npages, uint64_t seed)
{
	*guest_cmd(vcpu) = (struct guest_cmd) {
		.op = op,
		.gpa = gpa,
		.npages = npages,
		.seed = seed,
	};
	vcpu_run(vcpu);
	return vcpu->run->exit_reason;
}

uint64_t pf_guest(struct kvm_vcpu *vcpu, enum pf_op op, uint64_t gpa,
		  uint64_t npages, uint64_t seed)
{
	pf_guest_start(vcpu, op, gpa, npages, seed);
	return pf_guest_finish(vcpu);
}

struct kvm_vcpu *pf_raw_vcpu(void)
{
	return __vm_vcpu_add(vm_create_barebones(), 0);
}

void pf_guest_map(struct kvm_vm *vm)
{
	void *warm = pf_mmap(PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1);

	TEST_ASSERT(warm != MAP_FAILED, "mmap()");
	vm_set_user_memory_region(vm, WARM_SLOT, 0, WARM_GPA, PAGE_SIZE, warm);
	virt_map_level(vm, TEST_GPA, TEST_GPA, SZ_1G, PG_LEVEL_2M);
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
	 * Without Accessed bits in the SPTEs, KVM learns of the first access to
	 * a mapping by a fault, which it handles without any lock.
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
