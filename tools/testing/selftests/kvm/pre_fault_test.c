// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of KVM_PRE_FAULT_MEMORY: each promise of the API has its own test, in the file
 * of its subject below pre_fault/.
 */
#include "pre_fault/pre_fault.h"

static const struct pf_group groups[] = {
	{ "api/argument", pf_argument_tests },
	{ "api/errors", pf_error_tests },
	{ "api/holes", pf_hole_tests },
	{ "api/memslots", pf_memslot_tests },
	{ "api/signals", pf_signal_tests },
	{ "api/stats", pf_stats_tests },
	{ "api/tracepoint", pf_tracepoint_tests },
	{ "mapping/memory_types", pf_memory_type_tests },
	{ "mapping/huge_pages", pf_huge_page_tests },
	{ "mapping/copy_on_write", pf_copy_on_write_tests },
	{ "mapping/already_mapped", pf_already_mapped_tests },
	{ "mapping/ranges", pf_range_tests },
	{ "mapping/pte_mix", pf_pte_mix_tests },
	{ "mapping/dirty_log", pf_dirty_log_tests },
	{ "mapping/userfaultfd", pf_userfaultfd_tests },
	{ "mapping/ksm", pf_ksm_tests },
	{ "mapping/soft_dirty", pf_soft_dirty_tests },
	{ "mapping/numa_balancing", pf_numa_balancing_tests },
	{ "mapping/reclaim", pf_reclaim_tests },
	{ "mapping/special", pf_special_tests },
	{ "race/memslots", pf_race_memslot_tests },
	{ "race/vcpus", pf_race_vcpu_tests },
	{ "race/host_memory", pf_race_host_memory_tests },
	{ "race/hugetlb", pf_race_hugetlb_tests },
	{ "race/host_pages", pf_race_host_page_tests },
	{ "race/older_vm", pf_race_older_vm_tests },
	{ "arch", pf_arch_tests },
};

int main(int argc, char *argv[])
{
	return pf_main(argc, argv, groups, ARRAY_SIZE(groups));
}
