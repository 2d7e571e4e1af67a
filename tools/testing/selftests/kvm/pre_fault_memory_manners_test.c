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
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "pre_fault_memory/manners/manners.h"

#define TEST_SECONDS	120
#define REASON_SIZE	PAGE_SIZE

unsigned int pf_slowness = 1;

static const struct pf_test * const groups[] = {
	pf_manners_kill_tests,
	pf_manners_lock_tests,
	pf_manners_cgroup_tests,
};

/* Shared with the children: why they skipped the test */
static char *skip_reason;

void pf_skip(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(skip_reason, REASON_SIZE, fmt, args);
	va_end(args);
	exit(KSFT_SKIP);
}

static void relay(int fd)
{
	char line[512];
	FILE *f = fdopen(fd, "r");

	TEST_ASSERT(f, "fdopen()");
	while (fgets(line, sizeof(line), f))
		ksft_print_msg("%s", line);
	fclose(f);
}

static __noreturn void child(const struct pf_test *test, int fd)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	close(fd);
	setvbuf(stdout, NULL, _IOLBF, 0);
	alarm(TEST_SECONDS * pf_slowness);

	test->fn();
	exit(KSFT_PASS);
}

static void run(const struct pf_test *test)
{
	int fds[2], status;
	pid_t pid;

	fflush(stdout);
	skip_reason[0] = '\0';
	TEST_ASSERT(!pipe(fds), "pipe()");
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork()");
	if (!pid)
		child(test, fds[1]);
	close(fds[1]);

	relay(fds[0]);
	TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid()");
	if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_PASS) {
		ksft_test_result_pass("%s\n", test->name);
	} else if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP &&
		   skip_reason[0]) {
		ksft_test_result_skip("%s: %s\n", test->name, skip_reason);
	} else {
		ksft_print_msg("%s: status %#x\n", test->name, status);
		ksft_test_result_fail("%s\n", test->name);
	}
	fflush(stdout);
}

static const char *obstacle(void)
{
	if (pf_shadow_paging())
		return "KVM uses shadow paging";
	if (!kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY))
		return "no KVM_CAP_PRE_FAULT_MEMORY";
	return NULL;
}

static void help(const char *name)
{
	printf("usage: %s [-l] [-t NAME] [-s FACTOR] [-h]\n"
	       " -l: list the names of the tests\n"
	       " -t: run the test of that name, or those whose names begin so\n"
	       " -s: allow FACTOR times as long for everything (slow machine)\n",
	       name);
}

/* Runs, lists or counts the tests that are wanted. */
static unsigned int for_tests(const char *only,
			      void (*fn)(const struct pf_test *t))
{
	const struct pf_test *t;
	unsigned int nr = 0, i;

	for (i = 0; i < ARRAY_SIZE(groups); i++) {
		for (t = groups[i]; t->name; t++) {
			if (only && strncmp(t->name, only, strlen(only)))
				continue;
			nr++;
			if (fn)
				fn(t);
		}
	}
	return nr;
}

static void list(const struct pf_test *t)
{
	puts(t->name);
}

static void skip(const struct pf_test *t)
{
	ksft_test_result_skip("%s: %s\n", t->name, obstacle());
}

int main(int argc, char *argv[])
{
	const char *only = NULL;
	unsigned int nr;
	int opt;

	while ((opt = getopt(argc, argv, "hls:t:")) != -1) {
		switch (opt) {
		case 'l':
			for_tests(NULL, list);
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

	ksft_print_header();
	nr = for_tests(only, NULL);
	if (!nr)
		ksft_exit_fail_msg("no test is named %s\n", only);
	close(open_kvm_dev_path_or_exit());

	skip_reason = mmap(NULL, REASON_SIZE, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(skip_reason != MAP_FAILED, "mmap()");

	ksft_set_plan(nr);
	for_tests(only, obstacle() ? skip : run);
	ksft_finished();
}
