// SPDX-License-Identifier: GPL-2.0-only
/*
 * The RISC-V parts of the KVM_PRE_FAULT_MEMORY tests.
 */
#define _GNU_SOURCE
#include <linux/perf_event.h>

#include "../pre_fault.h"

const bool pf_counts_mappings;
const enum pf_memory pf_huge = PF_THP;
const uint32_t pf_return_insn = 0x00008067;

/*
 * KVM has neither a statistic nor a tracepoint for the guest's faults, but a function
 * that handles those on memory, and nothing else.
 */
bool pf_arch_fault_event(struct perf_event_attr *attr)
{
	long type = pf_read_long("/sys/bus/event_source/devices/kprobe/type");

	attr->type = type;
	attr->kprobe_func = (uintptr_t)"kvm_riscv_mmu_map";
	return type >= 0;
}

/* Only the number of the guest's faults is known. */
bool pf_arch_stat(const char *name, uint64_t *value)
{
	*value = strcmp(name, "pf_taken") ? 0 : pf_count_faults(NULL);
	return true;
}

void pf_arch_vcpu_init(struct kvm_vcpu *vcpu)
{
}

static uint64_t entry_to(uint64_t gpa, uint64_t bits)
{
	return gpa >> PGTBL_PAGE_SIZE_SHIFT << PGTBL_PTE_ADDR_SHIFT |
	       PGTBL_PTE_VALID_MASK | bits;
}

static uint64_t *next_table(struct kvm_vm *vm, uint64_t *entry)
{
	if (!*entry)
		*entry = entry_to(vm_alloc_page_table(vm), 0);
	return addr_gpa2hva(vm, (*entry & PGTBL_PTE_ADDR_MASK) >> PGTBL_PTE_ADDR_SHIFT <<
				PGTBL_PAGE_SIZE_SHIFT);
}

void pf_arch_map(struct kvm_vm *vm, uint64_t gpa, uint64_t size)
{
	uint64_t *table, end = gpa + size;
	int level;

	if (vm->page_size != PAGE_SIZE)
		pf_skip("the guest's pages are not of 4K");

	for (; gpa < end; gpa += SZ_2M) {
		table = addr_gpa2hva(vm, vm_pgd(vm));
		for (level = vm_pgtable_levels(vm) - 1; level > 1; level--)
			table = next_table(vm, &table[gpa >> (12 + 9 * level) & 511]);
		table[gpa >> 21 & 511] = entry_to(gpa, PGTBL_PTE_PERM_MASK);
	}
}
