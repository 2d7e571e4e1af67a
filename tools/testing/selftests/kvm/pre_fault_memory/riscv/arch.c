// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the KVM_PRE_FAULT_MEMORY tests need to know of RISC-V.
 */
#define _GNU_SOURCE
#include <linux/perf_event.h>
#include <sys/syscall.h>

#include "../pre_fault_memory.h"

const bool pf_counts_mappings;
const enum pf_backing pf_huge = PF_HUGETLB_2M;
const uint32_t pf_return_insn = 0x00008067;

bool pf_shadow_paging(void)
{
	return false;
}

bool pf_has_accessed_bit(void)
{
	return true;
}

void pf_arch_init(void)
{
}

/*
 * KVM has neither a statistic nor a tracepoint of the guest's faults, but a
 * function that handles those on memory, and on nothing else.
 */
static uint64_t faults_of_this_thread(void)
{
	static __thread pid_t owner;
	static __thread int fd;
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.kprobe_func = (uintptr_t)"kvm_riscv_gstage_map",
	};
	uint64_t count;
	long type;

	if (owner != pf_gettid()) {
		type = pf_read_long("/sys/bus/event_source/devices/kprobe/type");
		if (type < 0)
			pf_skip("no kprobes to count the guest's faults with");
		attr.type = type;
		fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1,
			     PERF_FLAG_FD_CLOEXEC);
		if (fd < 0)
			pf_skip("faults can't be counted: %s", strerror(errno));
		owner = pf_gettid();
	}

	TEST_ASSERT(read(fd, &count, sizeof(count)) == sizeof(count),
		    "read of a perf event");
	return count;
}

bool pf_arch_stat(const char *name, uint64_t *value)
{
	*value = 0;
	if (!strcmp(name, "pf_taken"))
		*value = faults_of_this_thread();
	return strcmp(name, "pf_prefaulted");
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
	return addr_gpa2hva(vm, *entry >> PGTBL_PTE_ADDR_SHIFT <<
				PGTBL_PAGE_SIZE_SHIFT);
}

void pf_arch_map(struct kvm_vm *vm, uint64_t gpa, uint64_t size)
{
	uint64_t *table, end = gpa + size;

	if (vm->pgtable_levels != 4)
		pf_skip("the guest's page tables are of another shape");

	for (; gpa < end; gpa += SZ_2M) {
		table = addr_gpa2hva(vm, vm->pgd);
		table = next_table(vm, &table[gpa >> PGTBL_L3_INDEX_SHIFT & 511]);
		table = next_table(vm, &table[gpa >> PGTBL_L2_INDEX_SHIFT & 511]);
		table[gpa >> PGTBL_L1_INDEX_SHIFT & 511] =
			entry_to(gpa, PGTBL_PTE_PERM_MASK);
	}
}
