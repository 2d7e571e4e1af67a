// SPDX-License-Identifier: GPL-2.0-only
/*
 * The arm64 parts of the KVM_PRE_FAULT_MEMORY tests.
 */
#define _GNU_SOURCE
#include <linux/perf_event.h>

#include "../pre_fault.h"

/* Descriptors of the guest's own page tables */
#define TABLE		3ull
#define BLOCK		1ull
#define ATTR_NORMAL	(4ull << 2)	/* see DEFAULT_MAIR_EL1 */
#define ATTR_SHARED	(3ull << 8)
#define ATTR_ACCESSED	BIT_ULL(10)
#define OUTPUT_ADDRESS	GENMASK_ULL(47, 12)

/* Ignore the faults of ucall(), which writes to an address without a memslot. */
#define MEMORY_ONLY	"ipa >= 0x100000000 && ipa < 0x200000000"

const bool pf_counts_mappings;
const enum pf_memory pf_huge = PF_THP;
const uint32_t pf_return_insn = 0xd65f03c0;

/* KVM has a tracepoint for the guest's faults, but no statistic. */
bool pf_arch_fault_event(struct perf_event_attr *attr)
{
	long id = pf_read_long("/sys/kernel/tracing/events/kvm/kvm_guest_fault/id");

	attr->type = PERF_TYPE_TRACEPOINT;
	attr->config = id;
	return id >= 0;
}

/* Only the number of the guest's faults is known. */
bool pf_arch_stat(const char *name, uint64_t *value)
{
	*value = strcmp(name, "pf_taken") ? 0 : pf_count_faults(MEMORY_ONLY);
	return true;
}

void pf_arch_vcpu_init(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_init init;

	vm_ioctl(vcpu->vm, KVM_ARM_PREFERRED_TARGET, &init);
	vcpu_ioctl(vcpu, KVM_ARM_VCPU_INIT, &init);
}

static uint64_t *next_table(struct kvm_vm *vm, uint64_t *entry)
{
	if (!*entry)
		*entry = vm_alloc_page_table(vm) | TABLE;
	return addr_gpa2hva(vm, *entry & OUTPUT_ADDRESS);
}

void pf_arch_map(struct kvm_vm *vm, uint64_t gpa, uint64_t size)
{
	uint64_t *table, end = gpa + size;

	if (vm->page_size != PAGE_SIZE || vm_pgtable_levels(vm) != 4)
		pf_skip("the guest's page tables are not 4 levels of 4K pages");

	for (; gpa < end; gpa += SZ_2M) {
		table = addr_gpa2hva(vm, vm_pgd(vm));
		table = next_table(vm, &table[gpa >> 39 & 511]);
		table = next_table(vm, &table[gpa >> 30 & 511]);
		table[gpa >> 21 & 511] = gpa | BLOCK | ATTR_NORMAL |
					 ATTR_SHARED | ATTR_ACCESSED;
	}
}
