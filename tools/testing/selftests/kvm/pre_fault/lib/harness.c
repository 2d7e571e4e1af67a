// SPDX-License-Identifier: GPL-2.0-only
/*
 * Run tests of KVM_PRE_FAULT_MEMORY, each in its own process and VM, with a time
 * limit. A test may fail by a hang in the kernel: do not wait for a process that
 * cannot be killed.
 */
#define _GNU_SOURCE
#include <fnmatch.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "../pre_fault.h"

#define TEST_SECONDS	120
#define KILL_SECONDS	20

/* The arguments that select tests */
static struct {
	const char *name;
	const char *group;
	bool no_batch;
} want;

/* Print the child's output as TAP diagnostics. */
static void relay(int fd)
{
	static bool in_line;
	char buf[512];
	ssize_t n, i;

	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (i = 0; i < n; i++) {
			if (!in_line)
				fputs("# ", stdout);
			putchar(buf[i]);
			in_line = buf[i] != '\n';
		}
	}

	/* End of file */
	if (!n && in_line) {
		putchar('\n');
		in_line = false;
	}
	fflush(stdout);
}

static bool reap(pid_t pid, int fd, unsigned int seconds, int *status)
{
	double end = pf_now() + (double)seconds * pf_slowness;
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	for (;;) {
		pid_t ret = waitpid(pid, status, WNOHANG);

		relay(fd);
		if (ret == pid)
			return true;
		if (pf_now() > end)
			return false;
		/* The child's exit closes the pipe shortly before it can be reaped. */
		if (poll(&pfd, 1, 100) == 1 && !(pfd.revents & POLLIN))
			usleep(5000);
	}
}

static __noreturn void child(const struct pf_test *test, int fd)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	setvbuf(stdout, NULL, _IOLBF, 0);

	test->fn();
	exit(KSFT_PASS);
}

/* Return the reason why a test cannot run, or NULL. */
static const char *obstacle(const struct pf_test *test)
{
	bool wants_shadow = test->needs == PF_NEEDS_SHADOW_PAGING;
	bool shadow = pf_shadow_paging();

	if (getpagesize() != PAGE_SIZE)
		return "the host's page size is not 4K";
	if (shadow != wants_shadow)
		return shadow ? "KVM uses shadow paging" :
				"KVM does not use shadow paging";
	if (test->needs == PF_NEEDS_CAP &&
	    !kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY))
		return "no KVM_CAP_PRE_FAULT_MEMORY";
	return NULL;
}

static void run(const struct pf_test *test)
{
	const char *why = obstacle(test);
	int fds[2], status;
	pid_t pid;

	if (why) {
		ksft_test_result_skip("%s: %s\n", test->name, why);
		return;
	}

	fflush(stdout);
	pf_skip_reason[0] = '\0';
	TEST_ASSERT(!pipe(fds), "pipe()");
	fcntl(fds[0], F_SETFL, O_NONBLOCK);

	pid = pf_fork();
	if (!pid)
		child(test, fds[1]);
	close(fds[1]);

	if (!reap(pid, fds[0], TEST_SECONDS, &status)) {
		kill(-pid, SIGKILL);
		kill(pid, SIGKILL);
		if (reap(pid, fds[0], KILL_SECONDS, &status))
			ksft_print_msg("%s: timed out\n", test->name);
		else
			ksft_print_msg("%s: hung in the kernel\n", test->name);
		ksft_test_result_fail("%s\n", test->name);
	} else if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_PASS) {
		ksft_test_result_pass("%s\n", test->name);
	} else if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP &&
		   pf_skip_reason[0]) {
		ksft_test_result_skip("%s: %s\n", test->name, pf_skip_reason);
	} else {
		if (WIFSIGNALED(status))
			ksft_print_msg("%s: killed by signal %d\n", test->name,
				       WTERMSIG(status));
		else
			ksft_print_msg("%s: exit status %d\n", test->name,
				       WEXITSTATUS(status));
		ksft_test_result_fail("%s\n", test->name);
	}

	close(fds[0]);
	fflush(stdout);
}

static bool matches(const char *pattern, const char *name)
{
	return !pattern || !fnmatch(pattern, name, FNM_EXTMATCH);
}

/* Call @fn for the tests that are wanted, or only count them. */
static unsigned int for_tests(const struct pf_group *groups,
			      unsigned int nr_groups,
			      void (*fn)(const struct pf_test *t))
{
	const struct pf_test *t;
	unsigned int nr = 0, i;

	for (i = 0; i < nr_groups; i++) {
		if (!matches(want.group, groups[i].name))
			continue;
		for (t = groups[i].tests; t->name; t++) {
			if (!matches(want.name, t->name) ||
			    (t->batch && want.no_batch))
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

static void help(const char *name)
{
	printf("usage: %s [-l] [-t NAME] [-g FILE] [-B] [-s FACTOR] [-r ROUNDS] [-S SEED] [-h]\n"
	       " -l: list the names of the tests\n"
	       " -t: run the tests whose names match the pattern NAME\n"
	       " -g: run the tests of the files that match the pattern FILE, as race/*\n"
	       " -B: leave out the tests that map whole page tables\n"
	       " -s: allow FACTOR times as long for everything (slow machine)\n"
	       " -r: rounds of the memslot races; other races scale with it (default %d)\n"
	       " -S: seed of random numbers (default: from the clock)\n",
	       name, PF_DEFAULT_ROUNDS);
}

static void run_tests(const struct pf_group *groups, unsigned int nr_groups)
{
	unsigned int nr = for_tests(groups, nr_groups, NULL);

	ksft_print_header();
	if (!nr)
		ksft_exit_fail_msg("there is no such test\n");

	close(open_kvm_dev_path_or_exit());

	/* Shared with the children */
	pf_skip_reason = mmap(NULL, PF_REASON_SIZE, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(pf_skip_reason != MAP_FAILED, "mmap()");

	pf_arch_init();

	ksft_set_plan(nr);
	for_tests(groups, nr_groups, run);
	ksft_finished();
}

int pf_main(int argc, char *argv[], const struct pf_group *groups,
	    unsigned int nr_groups)
{
	bool only_list = false;
	int opt;

	pf_seed = time(NULL);
	while ((opt = getopt(argc, argv, "Bg:hlr:s:S:t:")) != -1) {
		switch (opt) {
		case 'B':
			want.no_batch = true;
			break;
		case 'g':
			want.group = optarg;
			break;
		case 'l':
			only_list = true;
			break;
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
			want.name = optarg;
			break;
		default:
			help(argv[0]);
			return opt == 'h' ? KSFT_PASS : KSFT_FAIL;
		}
	}

	if (!pf_rounds || !pf_slowness) {
		help(argv[0]);
		return KSFT_FAIL;
	}
	if (only_list) {
		for_tests(groups, nr_groups, list);
		return KSFT_PASS;
	}
	run_tests(groups, nr_groups);
	return KSFT_PASS;
}
