// SPDX-License-Identifier: GPL-2.0-only
/*
 * Skipping, files of the kernel, threads, child processes and time.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <time.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "../pre_fault.h"

unsigned int pf_slowness = 1;
unsigned int pf_rounds = PF_DEFAULT_ROUNDS;
unsigned int pf_seed;

char *pf_skip_reason;

void pf_skip(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (pf_skip_reason) {
		vsnprintf(pf_skip_reason, PF_REASON_SIZE, fmt, args);
	} else {
		printf("# SKIP ");
		vprintf(fmt, args);
		printf("\n");
	}
	va_end(args);
	exit(KSFT_SKIP);
}

long pf_read_long(const char *path)
{
	long value;
	FILE *f;
	int n;

	f = fopen(path, "r");
	if (!f)
		return -1;
	n = fscanf(f, "%ld", &value);
	fclose(f);
	return n == 1 ? value : -1;
}

bool pf_read_bool(const char *path)
{
	int fd = open(path, O_RDONLY);
	char value = 0;

	if (fd < 0)
		return false;
	if (read(fd, &value, 1) != 1)
		value = 0;
	close(fd);
	return value == 'Y' || value == '1';
}

int pf_write_str(const char *path, const char *value)
{
	ssize_t n, len = strlen(value);
	int fd;

	fd = open(path, O_WRONLY | O_TRUNC);
	if (fd < 0)
		return -1;
	n = write(fd, value, len);
	close(fd);
	return n == len ? 0 : -1;
}

pthread_t pf_thread(void *(*fn)(void *), void *arg)
{
	pthread_t thread;

	TEST_ASSERT(!pthread_create(&thread, NULL, fn, arg), "pthread_create()");
	return thread;
}

void pf_join(pthread_t thread)
{
	TEST_ASSERT(!pthread_join(thread, NULL), "pthread_join()");
}

pid_t pf_fork(void)
{
	pid_t pid;

	/* The child would print what is still in the buffer once more. */
	fflush(stdout);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork()");
	return pid;
}

int pf_wait(pid_t pid)
{
	int status;

	TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid()");
	return status;
}

int pf_in_child(void (*fn)(const void *arg), const void *arg)
{
	pid_t pid = pf_fork();

	if (!pid) {
		fn(arg);
		exit(0);
	}
	return pf_wait(pid);
}

pid_t pf_gettid(void)
{
	return syscall(SYS_gettid);
}

static void on_signal(int sig)
{
}

void pf_catch(int sig)
{
	struct sigaction action = { .sa_handler = on_signal };

	TEST_ASSERT(!sigaction(sig, &action, NULL), "sigaction()");
}

double pf_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

int pf_nr_cpus(void)
{
	cpu_set_t all;

	TEST_ASSERT(!sched_getaffinity(0, sizeof(all), &all),
		    "sched_getaffinity()");
	return CPU_COUNT(&all);
}

void pf_pin(int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	TEST_ASSERT(!sched_setaffinity(0, sizeof(one), &one),
		    "sched_setaffinity() to CPU %d", cpu);
}
