// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs tests of KVM_PRE_FAULT_MEMORY, each in a process and a VM of its own,
 * with a time limit. A hang in the kernel is one of the ways to fail, therefore
 * even a process that can't be killed does not hold up the other tests.
 */
#define _GNU_SOURCE
#include <fnmatch.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "pre_fault.h"

#define TEST_SECONDS	120
#define KILL_SECONDS	20
#define REASON_SIZE	PAGE_SIZE

unsigned int pf_slowness = 1;

/* Shared with the children: why they skipped the test. */
static char *skip_reason;

void pf_skip(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(skip_reason, REASON_SIZE, fmt, args);
	va_end(args);
	exit(KSFT_SKIP);
}

/* Hand on what the child has to say, as TAP diagnostics. */
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
		/* Its end closes the pipe, mostly, and a little early. */
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

/* The reason why a test cannot run at all, or NULL */
static const char *obstacle(const struct pf_test *test)
{
	bool wants_shadow = test->needs == PF_NEEDS_SHADOW_PAGING;
	bool shadow = pf_shadow_paging();

	if (getpagesize() != PAGE_SIZE)
		return "the host's pages are not of 4K";
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
	skip_reason[0] = '\0';
	TEST_ASSERT(!pipe(fds), "pipe()");
	fcntl(fds[0], F_SETFL, O_NONBLOCK);

	pid = fork();
	TEST_ASSERT(pid >= 0, "fork()");
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
		   skip_reason[0]) {
		ksft_test_result_skip("%s: %s\n", test->name, skip_reason);
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

/* Runs the tests that are wanted, or only counts them. */
static unsigned int for_tests(const struct pf_test * const groups[],
			      unsigned int nr_groups, const char *only,
			      void (*fn)(const struct pf_test *t))
{
	const struct pf_test *t;
	unsigned int nr = 0, i;

	for (i = 0; i < nr_groups; i++) {
		for (t = groups[i]; t->name; t++) {
			if (only && fnmatch(only, t->name, FNM_EXTMATCH))
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

void pf_list_tests(const struct pf_test * const groups[], unsigned int nr_groups)
{
	for_tests(groups, nr_groups, NULL, list);
}

void pf_run_tests(const struct pf_test * const groups[], unsigned int nr_groups,
		  const char *only)
{
	unsigned int nr = for_tests(groups, nr_groups, only, NULL);

	ksft_print_header();
	if (!nr)
		ksft_exit_fail_msg("no test is named %s\n", only);

	close(open_kvm_dev_path_or_exit());

	skip_reason = mmap(NULL, REASON_SIZE, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(skip_reason != MAP_FAILED, "mmap()");

	pf_arch_init();

	ksft_set_plan(nr);
	for_tests(groups, nr_groups, only, run);
	ksft_finished();
}
