// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY over pages that NUMA balancing has made inaccessible.
 */
#define _GNU_SOURCE
#include "../pre_fault.h"

#define NR_PAGES	1024
#define SIZE		(NR_PAGES * PAGE_SIZE)

/* A counter in /proc/vmstat; -1 if there is none. */
static long vm_event(const char *wanted)
{
	FILE *f = fopen("/proc/vmstat", "r");
	char name[64];
	long value;

	TEST_ASSERT(f, "/proc/vmstat");
	while (fscanf(f, "%63s %ld", name, &value) == 2) {
		if (!strcmp(name, wanted)) {
			fclose(f);
			return value;
		}
	}
	fclose(f);
	return -1;
}

#define NUMA_BALANCING	"/proc/sys/kernel/numa_balancing"

static void numa_balancing_off(void)
{
	pf_write_str(NUMA_BALANCING, "0");
}

static void *numa_spin_fn(void *arg)
{
	bool *stop = arg;

	/* Keep the CPU busy, as NUMA balancing counts CPU time. */
	while (!READ_ONCE(*stop))
		;
	return NULL;
}

/*
 * NUMA balancing makes pages inaccessible to detect the next access. A pre-fault counts
 * as an access, like a guest page fault.
 */
static void numa_hinting(void)
{
	double end = pf_now() + 30.0 * pf_slowness;
	long updates, hints, hinted = 0;
	struct kvm_vcpu *vcpu;
	pthread_t thread;
	bool stop = false;
	void *mem;

	if (access("/sys/devices/system/node/node1", F_OK))
		pf_skip("only one NUMA node");
	if (access(NUMA_BALANCING, W_OK) || vm_event("numa_hint_faults") < 0)
		pf_skip("no NUMA balancing");

	mem = pf_mem(PF_ANON, SIZE, 1);
	vcpu = pf_memory_vcpu(0, mem, SIZE);
	updates = vm_event("numa_pte_updates");
	atexit(numa_balancing_off);
	TEST_ASSERT(!pf_write_str(NUMA_BALANCING, "1"), "no NUMA balancing");
	thread = pf_thread(numa_spin_fn, &stop);
	do {
		TEST_ASSERT(pf_now() < end, "%ld pages made inaccessible",
			    hinted);
		usleep(10000);
		hinted = vm_event("numa_pte_updates") - updates;
	} while (hinted < NR_PAGES);
	numa_balancing_off();
	WRITE_ONCE(stop, true);
	pf_join(thread);

	hints = vm_event("numa_hint_faults");
	pf_map(vcpu, TEST_GPA, SIZE);
	hints = vm_event("numa_hint_faults") - hints;
	pr_info("%ld pages made inaccessible, %ld hints\n", hinted, hints);
	TEST_ASSERT(hints >= NR_PAGES / 2, "the host has seen %ld accesses",
		    hints);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 1);
	pf_guest(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 2);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 2);
}

const struct pf_test pf_numa_balancing_tests[] = {
	PF_TEST_BATCH(numa_hinting),
	{ }
};
