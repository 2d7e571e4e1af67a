// SPDX-License-Identifier: GPL-2.0-only
/*
 * The page tables that KVM_PRE_FAULT_MEMORY fills are the caller's memory, and
 * the limit of its cgroup is theirs.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "latency.h"

#define CGROUP_ROOT	"/sys/fs/cgroup"
#define CGROUP		CGROUP_ROOT "/pre_fault_latency"
#define STAT_SIZE	SZ_1G
#define LIMIT		(4ul << 20)
/* More than enough to need more page tables than that */
#define LIMIT_SIZE	BIG_SIZE

static void cgroup_make(void)
{
	if (access(CGROUP_ROOT "/cgroup.controllers", R_OK))
		pf_skip("no cgroup2 at " CGROUP_ROOT);
	if (pf_write_str(CGROUP_ROOT "/cgroup.subtree_control", "+memory"))
		pf_skip("no memory controller in " CGROUP_ROOT);
	rmdir(CGROUP);
	TEST_ASSERT(!mkdir(CGROUP, 0755), "mkdir(" CGROUP ")");
}

static void cgroup_join(void)
{
	TEST_ASSERT(!pf_write_str(CGROUP "/cgroup.procs", "0"),
		    "can't join " CGROUP);
}

static void cgroup_limit(const char *max)
{
	/* Swap is no way out, page tables do not go there. */
	pf_write_str(CGROUP "/memory.swap.max", "0");
	TEST_ASSERT(!pf_write_str(CGROUP "/memory.max", max), "memory.max");
}

/* Of memory.stat or memory.events; -1 if there is none */
static long cgroup_value(const char *file, const char *name)
{
	char path[128], key[64];
	long value, found = -1;
	FILE *f;

	snprintf(path, sizeof(path), CGROUP "/%s", file);
	f = fopen(path, "r");
	TEST_ASSERT(f, "%s", path);
	while (fscanf(f, "%63s %ld", key, &value) == 2)
		if (!strcmp(key, name))
			found = value;
	fclose(f);
	return found;
}

static void pass(void (*fn)(const void *unused))
{
	int status = pf_in_child(fn, NULL);

	TEST_ASSERT(!status, "the process ended with status %#x", status);
}

/* The limit does not apply outside of the cgroup. */
static void outside(const void *unused)
{
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, pf_mem(PF_ANON, SZ_2M, 1),
					       SZ_2M);

	pf_map_pages(vcpu, TEST_GPA, SZ_2M, 512);
	pf_guest_check(vcpu, TEST_GPA, 512, 1);
}

static void accounted(const void *unused)
{
	long before, after, want = STAT_SIZE / SZ_2M * PAGE_SIZE;
	struct kvm_vcpu *vcpu;

	big_vm(PF_ANON_NEW, 0, STAT_SIZE, 1, &vcpu);
	cgroup_join();
	before = cgroup_value("memory.stat", "sec_pagetables");
	pf_map(vcpu, 0, STAT_SIZE);
	after = cgroup_value("memory.stat", "sec_pagetables");
	printf("1G of 4K pages: sec_pagetables +%ld kB, pagetables %ld kB, kernel %ld kB\n",
	       (after - before) >> 10,
	       cgroup_value("memory.stat", "pagetables") >> 10,
	       cgroup_value("memory.stat", "kernel") >> 10);
	TEST_ASSERT(after - before >= want,
		    "the cgroup misses %ld kB of page tables",
		    (want - after + before) >> 10);
	TEST_ASSERT(cgroup_value("memory.stat", "kernel") >= want,
		    "the page tables are not charged");
}

static void cgroup_accounts(void)
{
	cgroup_make();
	pass(accounted);
	TEST_ASSERT(cgroup_value("memory.stat", "sec_pagetables") == 0,
		    "page tables are left in the cgroup");
	rmdir(CGROUP);
}

static void at_limit(const void *unused)
{
	struct kvm_pre_fault_memory range = { .size = LIMIT_SIZE }, done;
	struct kvm_vcpu *vcpu;
	uint64_t prefaulted;
	int first, second, fd, ret;
	char value[24];

	/* Nothing to kill here: the allocation fails. */
	TEST_ASSERT(!pf_write_str("/proc/self/oom_score_adj", "-1000"),
		    "oom_score_adj");
	/* Have all that a fork() shares copied while there is memory. */
	TEST_ASSERT(!mlockall(MCL_CURRENT), "mlockall()");
	big_vm(PF_ANON_NEW, 0, LIMIT_SIZE, 1, &vcpu);
	cgroup_join();
	snprintf(value, sizeof(value), "%lu", LIMIT);
	cgroup_limit(value);

	/*
	 * No new memory for this process itself until the limit is gone: its
	 * page faults would be tried again and again, with no process to kill,
	 * and no file can be opened.
	 */
	fd = open(CGROUP "/memory.max", O_WRONLY);
	TEST_ASSERT(fd >= 0, "memory.max");
	first = pf_call(vcpu, &range);
	done = range;
	second = pf_call(vcpu, &range);
	ret = write(fd, "max", 3);
	TEST_ASSERT(ret == 3, "memory.max");

	prefaulted = pf_stats(vcpu).prefaulted;
	printf("errno %d with %llu MiB done, then %d with %llu more\n", first,
	       done.gpa >> 20, second, (range.gpa - done.gpa) >> 20);
	TEST_ASSERT(!first && done.gpa && done.size,
		    "errno %d (%s) in the first call, %#llx done", first,
		    strerror(first), done.gpa);
	TEST_ASSERT(range.gpa == prefaulted * PAGE_SIZE &&
		    range.gpa + range.size == LIMIT_SIZE,
		    "%#llx done, %lu pages mapped", range.gpa, prefaulted);
	TEST_ASSERT(second == ENOMEM && range.gpa == done.gpa,
		    "errno %d (%s) at the limit, %#llx more done", second,
		    strerror(second), range.gpa - done.gpa);

	/* With more memory it goes on from there. */
	pf_map(vcpu, range.gpa, 16 * SZ_2M);
}

static void cgroup_limit_enomem(void)
{
	cgroup_make();
	pass(at_limit);
	pass(outside);
	rmdir(CGROUP);
}

static void over_limit(const void *unused)
{
	struct kvm_pre_fault_memory range = { .size = LIMIT_SIZE };
	struct kvm_vcpu *vcpu;
	char value[24];

	big_vm(PF_ANON_NEW, 0, LIMIT_SIZE, 1, &vcpu);
	cgroup_join();
	snprintf(value, sizeof(value), "%lu", LIMIT);
	cgroup_limit(value);
	while (range.size)
		TEST_ASSERT(!pf_call(vcpu, &range), "not killed");
}

static void cgroup_limit_oom_kill(void)
{
	int status;

	cgroup_make();
	status = pf_in_child(over_limit, NULL);
	TEST_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
		    "the process ended with status %#x", status);
	TEST_ASSERT(cgroup_value("memory.events", "oom_kill") == 1,
		    "oom_kill is %ld", cgroup_value("memory.events", "oom_kill"));
	pass(outside);
	rmdir(CGROUP);
}

const struct pf_test pf_latency_cgroup_tests[] = {
	PF_TEST(cgroup_accounts),
	PF_TEST(cgroup_limit_enomem),
	PF_TEST(cgroup_limit_oom_kill),
	{ }
};
