// SPDX-License-Identifier: GPL-2.0
/*
 * In the lab's machine: save a Linux that Debian's QEMU runs, restore it in several
 * types of memory, without kvm-pre-fault and with, and print a table of what the rest of
 * its work took: stage-2 faults, and time, which are instructions where the clock counts
 * them.
 *
 *   stock [VCPUS...]
 *
 * In the guest, stock-guest.c is the only process.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RAM		"/tmp/ram"
#define TEMPLATE	"/tmp/template"
#define STATE		"/tmp/state"
#define DEVICES		"/tmp/devices"
#define REPORT		"/tmp/report.json"
#define THP		"/sys/kernel/mm/transparent_hugepage/enabled"
#define MEMORY		"128M"
/* In seconds: no step takes as long. */
#define LIMIT		60
/* The period of questions to QEMU, in us: answers cost CPU time. */
#define POLL		200000

#define BACKEND_FILE	"memory-backend-file,mem-path=" RAM

static const struct backing {
	const char *name, *object;
	bool template, huge;
} backings[] = {
	{ .name = "anon", .object = "memory-backend-ram" },
	{ .name = "thp", .object = "memory-backend-ram", .huge = true },
	{ .name = "file", .object = BACKEND_FILE ",share=on,prealloc=on" },
	{ .name = "template", .object = BACKEND_FILE ",share=on", .template = true },
	{ .name = "private", .object = BACKEND_FILE ",share=off", .template = true },
};

/* A QEMU, with its serial line as stdin and stdout, and its monitor */
struct qemu {
	pid_t pid;
	int serial_in, serial_out, monitor_in, monitor_out;
	char *text;
	size_t len;
};

struct result {
	long faults;
	double ms, pre_fault_ms;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static void write_file(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		err(1, "%s", path);
	close(fd);
}

static void must_fail(const char *what)
{
	if (system("cat /tmp/stderr >&2"))
		warnx("no output");
	errx(1, "%s", what);
}

/* Read until a text appears, and forget what came before its end. */
static void wait_for(int fd, const char *text, char *line, size_t size)
{
	uint64_t end = now_ns() + LIMIT * 1000000000ULL;
	static char buf[65536];
	size_t used = 0;
	char *at;
	ssize_t n;

	buf[0] = '\0';
	while (!(at = strstr(buf, text)) || (line && !strchr(at, '\n'))) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };

		n = 0;
		if (now_ns() <= end && poll(&pfd, 1, LIMIT * 1000) > 0)
			n = read(fd, buf + used, 1);
		if (n <= 0) {
			fprintf(stderr, "%s\n", buf);
			must_fail("QEMU ended early, or takes too long");
		}
		used += n;
		if (used == sizeof(buf) - 1) {
			memmove(buf, buf + sizeof(buf) / 2, used - sizeof(buf) / 2);
			used -= sizeof(buf) / 2;
		}
		buf[used] = '\0';
	}
	if (line)
		snprintf(line, size, "%.*s", (int)strcspn(at, "\r\n"), at);
}

static void command(struct qemu *qemu, char *answer, size_t size, const char *format, ...)
{
	char text[256];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text, sizeof(text) - 1, format, args);
	va_end(args);
	text[len++] = '\n';
	if (write(qemu->monitor_in, text, len) != len)
		must_fail("the monitor is gone");
	/* The echo of the command comes before the answer. */
	if (answer)
		wait_for(qemu->monitor_out, "status: ", answer, size);
	wait_for(qemu->monitor_out, "(qemu) ", NULL, 0);
}

static int open_pipe(int fds[2])
{
	if (pipe2(fds, O_CLOEXEC))
		err(1, "pipe");
	return 0;
}

static void start(struct qemu *qemu, const char *object, const char *vcpus, bool incoming,
		  bool with)
{
	int to[2], from[2];
	char backend[256];
	static const char *const fixed[] = {
		"/usr/bin/qemu-system-x86_64", "-nodefaults", "-no-user-config",
		"-no-reboot", "-display", "none",
		"-machine", "pc,accel=kvm,memory-backend=ram0",
		"-cpu", "qemu64", "-m", MEMORY, "-serial", "stdio",
		"-chardev", "pipe,id=monitor,path=/tmp/pipe",
		"-mon", "chardev=monitor,mode=readline",
		"-kernel", "/guest/bzImage", "-initrd", "/guest/stock-initrd",
		"-append", "console=ttyS0 panic=-1 noxsave",
	};
	const char *argv[64], **arg = argv;
	unsigned int i;

	snprintf(backend, sizeof(backend), "%s,id=ram0,size=" MEMORY, object);
	if (with) {
		*arg++ = "kvm-pre-fault";
		*arg++ = "--json=" REPORT;
		*arg++ = "--";
	}
	for (i = 0; i < sizeof(fixed) / sizeof(*fixed); i++)
		*arg++ = fixed[i];
	*arg++ = "-object";
	*arg++ = backend;
	*arg++ = "-smp";
	*arg++ = vcpus;
	if (incoming) {
		*arg++ = "-S";
		*arg++ = "-incoming";
		*arg++ = "defer";
	}
	*arg = NULL;

	unlink("/tmp/pipe.in");
	unlink("/tmp/pipe.out");
	if (mkfifo("/tmp/pipe.in", 0600) || mkfifo("/tmp/pipe.out", 0600))
		err(1, "mkfifo");
	open_pipe(to);
	open_pipe(from);
	qemu->pid = fork();
	if (!qemu->pid) {
		dup2(to[0], STDIN_FILENO);
		dup2(from[1], STDOUT_FILENO);
		dup2(open("/tmp/stderr", O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
		execvp(argv[0], (char **)argv);
		err(127, "%s", argv[0]);
	}
	close(to[0]);
	close(from[1]);
	qemu->serial_in = to[1];
	qemu->serial_out = from[0];
	qemu->monitor_in = open("/tmp/pipe.in", O_RDWR | O_CLOEXEC);
	qemu->monitor_out = open("/tmp/pipe.out", O_RDWR | O_CLOEXEC);
	wait_for(qemu->monitor_out, "(qemu) ", NULL, 0);
}

static void stop_qemu(struct qemu *qemu)
{
	int status;

	if (write(qemu->monitor_in, "quit\n", 5) != 5 ||
	    waitpid(qemu->pid, &status, 0) != qemu->pid)
		must_fail("QEMU does not quit");
	close(qemu->serial_in);
	close(qemu->serial_out);
	close(qemu->monitor_in);
	close(qemu->monitor_out);
}

static void migrate_to(struct qemu *qemu, const char *path)
{
	char answer[128];

	/* Without -d the command returns when the migration is over. */
	command(qemu, NULL, 0, "migrate \"exec:cat > %s\"", path);
	do {
		usleep(POLL);
		command(qemu, answer, sizeof(answer), "info migrate");
		if (strstr(answer, "failed"))
			must_fail("the migration failed");
	} while (!strstr(answer, "completed"));
}

/* Save a guest: its devices beside a sparse template, or all of it in one stream. */
static void save(const char *vcpus, bool template)
{
	struct qemu qemu;

	unlink(TEMPLATE);
	start(&qemu, template ? "memory-backend-file,mem-path=" TEMPLATE ",share=on" :
				"memory-backend-ram", vcpus, false, false);
	wait_for(qemu.serial_out, "stock: ready", NULL, 0);
	command(&qemu, NULL, 0, "stop");
	if (template)
		command(&qemu, NULL, 0, "migrate_set_capability x-ignore-shared on");
	migrate_to(&qemu, template ? DEVICES : STATE);
	stop_qemu(&qemu);
}

/* Copy a file without its holes. */
static void copy_sparse(const char *from, const char *to)
{
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	off_t size = lseek(in, 0, SEEK_END), data, hole = 0;

	if (in < 0 || out < 0 || ftruncate(out, size))
		err(1, "%s", to);
	while ((data = lseek(in, hole, SEEK_DATA)) >= 0) {
		hole = lseek(in, data, SEEK_HOLE);
		for (off_t at = data; at < hole; ) {
			ssize_t n = copy_file_range(in, &at, out, &(off_t) { at }, hole - at, 0);

			if (n <= 0)
				err(1, "copy_file_range");
		}
	}
	close(in);
	close(out);
}

/* Sum up the faults of the only VM. */
static long faults(void)
{
	long sum = 0, value;
	glob_t found;
	FILE *file;

	if (glob("/sys/kernel/debug/kvm/[0-9]*/pf_taken", 0, NULL, &found))
		errx(1, "no debugfs of KVM");
	for (size_t i = 0; i < found.gl_pathc; i++) {
		file = fopen(found.gl_pathv[i], "r");
		if (file && fscanf(file, "%ld", &value) == 1)
			sum += value;
		if (file)
			fclose(file);
	}
	globfree(&found);
	return sum;
}

/* Sum up a member of all rounds of kvm-pre-fault's report. */
static double reported_ms(const char *name)
{
	static char text[65536];
	char key[64];
	FILE *file = fopen(REPORT, "r");
	double sum = 0;
	size_t len;

	if (!file)
		errx(1, "no " REPORT);
	len = fread(text, 1, sizeof(text) - 1, file);
	text[len] = '\0';
	fclose(file);
	snprintf(key, sizeof(key), "\"%s\": ", name);
	for (char *at = text; (at = strstr(at, key)); at++)
		sum += strtoull(at + strlen(key), NULL, 10) / 1e6;
	return sum;
}

static struct result restore(const struct backing *backing, const char *vcpus, bool with)
{
	struct result result = { 0 };
	char answer[128];
	struct qemu qemu;
	uint64_t begin, end;

	unlink(RAM);
	unlink(REPORT);
	write_file(THP, backing->huge ? "madvise" : "never");
	if (backing->template)
		copy_sparse(TEMPLATE, RAM);
	start(&qemu, backing->object, vcpus, true, with);
	if (backing->template)
		command(&qemu, NULL, 0, "migrate_set_capability x-ignore-shared on");
	command(&qemu, NULL, 0, "migrate_incoming \"exec:cat %s\"",
		backing->template ? DEVICES : STATE);
	end = now_ns() + LIMIT * 1000000000ULL;
	do {
		if (now_ns() > end)
			must_fail("the incoming migration takes too long");
		usleep(POLL);
		command(&qemu, answer, sizeof(answer), "info status");
	} while (strstr(answer, "inmigrate"));

	result.faults = -faults();
	begin = now_ns();
	command(&qemu, NULL, 0, "cont");
	if (write(qemu.serial_in, "g", 1) != 1)
		must_fail("no serial line");
	wait_for(qemu.serial_out, "stock: done", answer, sizeof(answer));
	result.ms = (now_ns() - begin) / 1e6;
	result.faults += faults();
	stop_qemu(&qemu);
	if (strcmp(answer, "stock: done, 0 words are wrong"))
		must_fail(answer);
	if (with)
		result.pre_fault_ms = reported_ms("wall_ns");
	return result;
}

int main(int argc, char *argv[])
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("Debian's QEMU, restored: the rest of its work, without kvm-pre-fault and with\n\n");
	printf("                stage-2 faults       ms of 10^6 instructions\n");
	printf("memory   vCPUs  without     with    without       with  pre-fault\n");
	for (int i = 1; i < argc; i++) {
		save(argv[i], false);
		save(argv[i], true);
		for (size_t j = 0; j < sizeof(backings) / sizeof(*backings); j++) {
			struct result without = restore(&backings[j], argv[i], false);
			struct result with = restore(&backings[j], argv[i], true);

			printf("%-8s %5s %8ld %8ld %10.1f %10.1f %10.1f\n",
			       backings[j].name, argv[i], without.faults, with.faults,
			       without.ms, with.ms, with.pre_fault_ms);
		}
	}
	return 0;
}
