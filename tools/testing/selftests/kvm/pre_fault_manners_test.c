// SPDX-License-Identifier: GPL-2.0-only
/*
 * The worst that KVM_PRE_FAULT_MEMORY may do to others, with a memslot of 1 TiB
 * over next to nothing: how soon it ends on a signal, how long others wait for
 * its locks, and whose memory the page tables are.
 *
 * The limits are those of the documentation. They hold for a clock that counts
 * instructions, as that of QEMU with "-icount shift=0,sleep=off"; under an
 * emulator with another clock -s gives them room.
 */
#define _GNU_SOURCE
#include "pre_fault/manners/manners.h"

static const struct pf_test * const groups[] = {
	pf_manners_kill_tests,
	pf_manners_lock_tests,
	pf_manners_cgroup_tests,
};

static void help(const char *name)
{
	printf("usage: %s [-l] [-t NAME] [-s FACTOR] [-h]\n"
	       " -l: list the names of the tests\n"
	       " -t: run the tests whose names match the pattern NAME\n"
	       " -s: allow FACTOR times as long for everything (slow machine)\n",
	       name);
}

int main(int argc, char *argv[])
{
	const char *only = NULL;
	int opt;

	while ((opt = getopt(argc, argv, "hls:t:")) != -1) {
		switch (opt) {
		case 'l':
			pf_list_tests(groups, ARRAY_SIZE(groups));
			return 0;
		case 's':
			pf_slowness = atoi(optarg);
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
	if (!pf_slowness) {
		help(argv[0]);
		return KSFT_FAIL;
	}

	pf_run_tests(groups, ARRAY_SIZE(groups), only);
}
