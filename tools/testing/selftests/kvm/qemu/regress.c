// SPDX-License-Identifier: GPL-2.0
/*
 * Run the kernel's own KVM selftests one after the other, each with a time limit
 * and in a process group of its own, and print a line of TAP for each.
 *
 *   regress [NAME...]
 *
 * Each line of /regress/tests names a test, its limit in seconds and its
 * arguments. The programs are in /regress, too.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DIR		"/regress/"
#define OUTPUT		"/tmp/regress"
#define MAX_ARGS	16
#define SPACE		"\n "
#define KSFT_SKIP	4
/* The bytes of a test's output that are kept, and the lines that are printed */
#define MAX_OUTPUT	4096
#define MAX_LINES	12

static char output[MAX_OUTPUT + 1];
static size_t used;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void start(char *argv[], int out)
{
	int null = open("/dev/null", O_RDONLY);

	setpgid(0, 0);
	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	execv(argv[0], argv);
	warn("%s", argv[0]);
	_exit(127);
}

/* Return the wait status of the command, or -1 after the time limit. */
static int run(char *argv[], double limit)
{
	int fd = open(OUTPUT, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	double end = now() + limit;
	int status = 0;
	ssize_t len;
	pid_t pid;

	pid = fd < 0 ? -1 : fork();
	if (pid < 0)
		err(1, "fork, or " OUTPUT);
	if (!pid)
		start(argv, fd);
	setpgid(pid, pid);
	while (status >= 0 && waitpid(pid, &status, WNOHANG) != pid) {
		if (now() > end)
			status = -1;
		usleep(20000);
	}
	/* Kill the processes that the test left behind, too. */
	kill(-pid, SIGKILL);
	if (status < 0)
		waitpid(pid, NULL, 0);

	/* Keep the end of the output, which has the reason of a failure. */
	if (lseek(fd, -MAX_OUTPUT, SEEK_END) < 0)
		lseek(fd, 0, SEEK_SET);
	len = read(fd, output, MAX_OUTPUT);
	used = len < 0 ? 0 : len;
	output[used] = '\0';
	close(fd);
	return status;
}

static char *last_line(void)
{
	char *line;

	while (used && output[used - 1] == '\n')
		output[--used] = '\0';
	line = strrchr(output, '\n');
	return line ? line + 1 : output;
}

/* TEST_REQUIRE() prints a TAP prefix before the reason: skip it. */
static const char *skip_reason(void)
{
	char *line = last_line(), *reason = strstr(line, "# SKIP - ");

	return reason ? reason + strlen("# SKIP - ") : line;
}

static void tell_output(void)
{
	char *line = last_line();
	int lines = 1;

	while (line > output && lines++ < MAX_LINES)
		for (line--; line > output && line[-1] != '\n'; line--)
			;
	for (line = strtok(line, "\n"); line; line = strtok(NULL, "\n"))
		printf("# %s\n", line);
}

static bool test(int nr, const char *name, double limit, char *argv[])
{
	double begin = now(), took;
	int status = run(argv, limit);

	took = now() - begin;
	if (!status) {
		printf("ok %d %s # %.1f s\n", nr, name, took);
		return true;
	}
	if (status > 0 && WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP) {
		printf("ok %d %s # SKIP %s\n", nr, name, skip_reason());
		return true;
	}
	tell_output();
	if (status < 0)
		printf("not ok %d %s # timeout, %.0f s\n", nr, name, limit);
	else if (WIFSIGNALED(status))
		printf("not ok %d %s # signal %d, %.1f s\n", nr, name,
		       WTERMSIG(status), took);
	else
		printf("not ok %d %s # exit %d, %.1f s\n", nr, name,
		       WEXITSTATUS(status), took);
	return false;
}

static bool is_wanted(const char *name, int argc, char *argv[])
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return argc == 1;
}

int main(int argc, char *argv[])
{
	char line[512], path[128], *args[MAX_ARGS + 2], *name, *word;
	int nr = 0, failed = 0, n;
	double limit;
	FILE *list;

	setlinebuf(stdout);
	list = fopen(DIR "tests", "r");
	if (!list || chdir(DIR))
		err(1, DIR "tests");
	while (fgets(line, sizeof(line), list)) {
		name = strtok(line, SPACE);
		word = strtok(NULL, SPACE);
		if (!word || !is_wanted(name, argc, argv))
			continue;
		limit = atof(word);
		n = 0;
		if (strlen(name) > 3 && !strcmp(name + strlen(name) - 3, ".sh"))
			args[n++] = "/bin/sh";
		snprintf(path, sizeof(path), DIR "%s", name);
		args[n++] = path;
		while (n < MAX_ARGS && (word = strtok(NULL, SPACE)))
			args[n++] = word;
		args[n] = NULL;
		failed += !test(++nr, name, limit, args);
	}
	printf("1..%d\n", nr);
	return failed ? 1 : 0;
}
