// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY of hugetlb against changes of the file, while another process
 * shares its page table and unshares it.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <linux/memfd.h>
#include <linux/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "race.h"

#define NR_HUGE		4
#define HUGE_PAGES	512
#define NR_PAGES	(NR_HUGE * HUGE_PAGES)
/* Processes share a table of PMD entries if all that it can map is in the VMA. */
#define SHARED_SIZE	SZ_1G

static int hugetlb_file(void)
{
	int fd;

	/* A hole may be filled again before its old pages are back in the pool. */
	munmap(pf_mem(PF_HUGETLB_2M, 2 * NR_HUGE * SZ_2M, 1), 2 * NR_HUGE * SZ_2M);
	fd = memfd_create("pre_fault", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	TEST_ASSERT(fd >= 0 && !ftruncate(fd, SHARED_SIZE), "memfd_create()");
	return fd;
}

/* Find an address where a table of PMD entries begins. */
static void *reserve(void)
{
	void *area = mmap(NULL, 2 * SHARED_SIZE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	TEST_ASSERT(area != MAP_FAILED, "mmap()");
	return align_ptr_up(area, SHARED_SIZE);
}

static void *map_file(void *mem, int fd)
{
	TEST_ASSERT(mmap(mem, SHARED_SIZE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0) == mem,
		    "mmap()");
	return mem;
}

static void read_all(char *mem)
{
	unsigned int i;

	for (i = 0; i < NR_HUGE; i++)
		READ_ONCE(mem[i * SZ_2M]);
}

/* Share the page table, and leave it by mprotect() and by a new mapping. */
static __noreturn void share_and_unshare(int fd)
{
	void *mem = reserve();
	unsigned int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (i = 0;; i++) {
		read_all(map_file(mem, fd));
		if (i % 2)
			mprotect(mem, SHARED_SIZE, PROT_NONE);
	}
}

static void punch_holes(struct race *r, unsigned int round)
{
	unsigned int first = random() % NR_HUGE;
	unsigned int nr = 1 + random() % (NR_HUGE - first);

	race_advise(r, first * HUGE_PAGES, nr * HUGE_PAGES, MADV_REMOVE);
	race_stamp(r, first * HUGE_PAGES, nr * HUGE_PAGES, race_seed(round));
}

static void race_hugetlb(void)
{
	struct race r = { .disturb = punch_holes };

	race_init(&r, map_file(reserve(), hugetlb_file()), NR_PAGES);
	race_run(&r, 300);
}

static void race_hugetlb_unshare(void)
{
	struct race r = { .disturb = punch_holes };
	int fd = hugetlb_file(), status;
	pid_t pid;

	race_init(&r, map_file(reserve(), fd), NR_PAGES);
	pid = pf_fork();
	if (!pid)
		share_and_unshare(fd);

	race_run(&r, 300);
	kill(pid, SIGKILL);
	status = pf_wait(pid);
	TEST_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
		    "the other process ended with status %#x", status);
}

const struct pf_test pf_race_hugetlb_tests[] = {
	PF_TEST(race_hugetlb),
	PF_TEST(race_hugetlb_unshare),
	{ }
};
