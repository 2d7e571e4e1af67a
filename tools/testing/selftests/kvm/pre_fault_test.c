// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of KVM_PRE_FAULT_MEMORY: every promise of its API has a test of its own.
 */
#define _GNU_SOURCE
#include "pre_fault/pre_fault.h"

#define DEFAULT_ROUNDS	1000

unsigned int pf_rounds = DEFAULT_ROUNDS;
unsigned int pf_seed;

static const struct pf_test * const groups[] = {
	pf_api_tests,
	pf_error_tests,
	pf_hole_tests,
	pf_backing_tests,
	pf_existing_tests,
	pf_dirty_tests,
	pf_vcpu_tests,
	pf_signal_tests,
	pf_uffd_tests,
	pf_trace_tests,
	pf_slot_tests,
	pf_race_tests,
	pf_batch_mix_tests,
	pf_batch_range_tests,
	pf_batch_host_tests,
	pf_batch_special_tests,
	pf_batch_dirty_tests,
	pf_batch_reclaim_tests,
	pf_batch_race_tests,
	pf_arch_tests,
};

static void help(const char *name)
{
	printf("usage: %s [-l] [-t NAME] [-s FACTOR] [-r ROUNDS] [-S SEED] [-h]\n"
	       " -l: list the names of the tests\n"
	       " -t: run the tests whose names match the pattern NAME\n"
	       " -s: allow FACTOR times as long for everything (slow machine)\n"
	       " -r: rounds of the memslot loops (default %d)\n"
	       " -S: seed of random numbers (default: from the clock)\n",
	       name, DEFAULT_ROUNDS);
}

int main(int argc, char *argv[])
{
	const char *only = NULL;
	int opt;

	pf_seed = time(NULL);
	while ((opt = getopt(argc, argv, "hlr:s:S:t:")) != -1) {
		switch (opt) {
		case 'l':
			pf_list_tests(groups, ARRAY_SIZE(groups));
			return 0;
		case 'r':
			pf_rounds = atoi(optarg);
			break;
		case 's':
			pf_slowness = atoi(optarg);
			break;
		case 'S':
			pf_seed = atoi(optarg);
			break;
		case 't':
			only = optarg;
			break;
		case 'h':
			help(argv[0]);
			return 0;
		default:
			help(argv[0]);
			return KSFT_FAIL;
		}
	}

	if (!pf_rounds || !pf_slowness) {
		help(argv[0]);
		return KSFT_FAIL;
	}

	pf_run_tests(groups, ARRAY_SIZE(groups), only);
}
