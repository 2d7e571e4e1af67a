// SPDX-License-Identifier: GPL-2.0
/*
 * First process of the lab's machine: set up a small system, run the one program
 * that the kernel command line names, and print its exit status.
 *
 *   ... -- PROGRAM [ARGUMENT...]   a program in /bin; a shell if there is none
 *
 * With lab_tty=DEVICE on the command line the program has that terminal for
 * itself. Otherwise the program shares the console, and all lines but those of a
 * shell go through the kernel log: a kernel message cannot tear a line there, and
 * comes after the line of the test that caused it.
 *
 * With lab_gcov=DEVICE, write the kernel's coverage data there at the end, two
 * lines for each file: its path, and its bytes in hexadecimal.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define SWAP_PAGE	4096
#define KLOG_CONSOLE_LEVEL	8
/* The kernel cuts a log line at about a thousand bytes */
#define LOG_LINE	800

static const struct {
	const char *type, *dir, *options;
} mounts[] = {
	{ "proc",	"/proc",		NULL },
	{ "sysfs",	"/sys",			NULL },
	{ "devtmpfs",	"/dev",			NULL },
	{ "devpts",	"/dev/pts",		NULL },
	{ "tmpfs",	"/dev/shm",		NULL },
	{ "hugetlbfs",	"/dev/hugepages",	"pagesize=2M" },
	{ "tmpfs",	"/tmp",			NULL },
	{ "debugfs",	"/sys/kernel/debug",	NULL },
	{ "tracefs",	"/sys/kernel/tracing",	NULL },
};

static const struct {
	const char *path, *value;
} settings[] = {
	{ "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "64" },
	{ "/proc/sys/vm/overcommit_memory", "1" },
	{ "/proc/sys/kernel/printk_devkmsg", "on\n" },
};

static void mount_all(void)
{
	for (size_t i = 0; i < sizeof(mounts) / sizeof(*mounts); i++) {
		mkdir(mounts[i].dir, 0755);
		if (mount(mounts[i].type, mounts[i].dir, mounts[i].type, 0,
			  mounts[i].options))
			warn("lab: mount %s", mounts[i].dir);
	}
	/* Do not check: not every kernel has cgroups, nor this directory. */
	mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL);
}

static void apply_settings(void)
{
	for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
		int fd = open(settings[i].path, O_WRONLY);
		ssize_t len = strlen(settings[i].value);

		if (fd < 0 || write(fd, settings[i].value, len) != len)
			warn("lab: %s", settings[i].path);
		if (fd >= 0)
			close(fd);
	}
}

/* Write the fields of mkswap(8) that the kernel checks: version, last page, signature. */
static void enable_swap(const char *dev)
{
	static uint32_t page[SWAP_PAGE / sizeof(uint32_t)];
	int fd = open(dev, O_RDWR);
	off_t size;

	if (fd < 0) {
		warn("lab: %s", dev);
		return;
	}
	size = lseek(fd, 0, SEEK_END);
	page[256] = 1;
	page[257] = size / SWAP_PAGE - 1;
	memcpy((char *)page + SWAP_PAGE - 10, "SWAPSPACE2", 10);
	if (pwrite(fd, page, SWAP_PAGE, 0) != SWAP_PAGE || fsync(fd))
		warn("lab: %s", dev);
	close(fd);
	if (swapon(dev, 0))
		warn("lab: swapon %s", dev);
}

/*
 * Make @path the terminal of this process, and its stdin, stdout and stderr.
 * With @raw_output, leave it to the host's terminal to turn "\n" into "\r\n".
 */
static void take_terminal(const char *path, bool raw_output)
{
	int fd = open(path, O_RDWR);
	struct termios t;

	if (fd < 0) {
		warn("lab: %s", path);
		return;
	}
	setsid();
	ioctl(fd, TIOCSCTTY, 1);
	if (raw_output && !tcgetattr(fd, &t)) {
		t.c_oflag &= ~OPOST;
		tcsetattr(fd, TCSANOW, &t);
	}
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
}

/* The name of a console's terminal depends on the architecture. */
static const char *console_path(void)
{
	static char path[64] = "/dev/console";
	FILE *f = fopen("/sys/class/tty/console/active", "r");

	if (f) {
		if (fscanf(f, "%50s", path + strlen("/dev/")) != 1)
			warnx("lab: no console");
		fclose(f);
	}
	return path;
}

static int exit_status(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void log_line(int kmsg, const char *line, size_t len)
{
	char buf[LOG_LINE + 16];
	int n;

	n = snprintf(buf, sizeof(buf), "<4>lab| %.*s\n", (int)len, line);
	if (write(kmsg, buf, n) != n)
		warn("lab: kmsg");
}

/* Write each line as one log record, until the last writer has closed the pipe. */
static void copy_to_log(int from, int kmsg)
{
	char buf[LOG_LINE];
	size_t used = 0;
	ssize_t n;

	while ((n = read(from, buf + used, sizeof(buf) - used)) > 0) {
		char *line = buf, *end;

		used += n;
		while ((end = memchr(line, '\n', buf + used - line))) {
			log_line(kmsg, line, end - line);
			line = end + 1;
		}
		used -= line - buf;
		memmove(buf, line, used);
		if (used == sizeof(buf)) {
			log_line(kmsg, buf, used);
			used = 0;
		}
	}
	if (used)
		log_line(kmsg, buf, used);
}

/*
 * A log record may be left for the owner of the console lock to print. Reading
 * /proc/consoles takes and releases the lock, which prints all records.
 */
static void flush_log(void)
{
	char buf[256];
	int fd = open("/proc/consoles", O_RDONLY);

	while (fd >= 0 && read(fd, buf, sizeof(buf)) > 0)
		;
	if (fd >= 0)
		close(fd);
	/* On newer kernels a thread of low priority prints the records. */
	sleep(1);
}

/*
 * When the session leader of a terminal exits, the kernel discards unsent output:
 * let the leader wait until all output is sent.
 */
static void fork_and_drain(void)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		return;
	waitpid(pid, &status, 0);
	tcdrain(STDOUT_FILENO);
	_exit(exit_status(status));
}

static int run(char *const argv[], const char *tty, bool to_log)
{
	int kmsg = -1, fds[2], status;
	pid_t pid;

	if (to_log) {
		kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
		if (kmsg < 0 || pipe2(fds, O_CLOEXEC)) {
			warn("lab: no way into the kernel log");
			return 126;
		}
	}

	pid = fork();
	if (!pid) {
		take_terminal(tty ? tty : console_path(), tty);
		if (to_log) {
			dup2(fds[1], STDOUT_FILENO);
			dup2(fds[1], STDERR_FILENO);
		}
		if (tty)
			fork_and_drain();
		execvp(argv[0], argv);
		warn("lab: %s", argv[0]);
		_exit(127);
	}

	if (to_log) {
		close(fds[1]);
		copy_to_log(fds[0], kmsg);
	}
	if (waitpid(pid, &status, 0) != pid)
		return 126;
	return exit_status(status);
}

static FILE *gcov;

static int write_gcov(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	size_t len = strlen(path);
	FILE *f;
	int c;

	(void)st;
	(void)ftw;
	if (type != FTW_F || len < 5 || strcmp(path + len - 5, ".gcda"))
		return 0;
	f = fopen(path, "r");
	if (!f) {
		warn("lab: %s", path);
		return 0;
	}
	fprintf(gcov, "%s\n", path);
	while ((c = getc(f)) != EOF)
		fprintf(gcov, "%02x", c);
	fprintf(gcov, "\n");
	fclose(f);
	return 0;
}

static void hand_out_gcov(const char *dev)
{
	struct termios t;

	gcov = fopen(dev, "w");
	if (!gcov) {
		warn("lab: %s", dev);
		return;
	}
	if (!tcgetattr(fileno(gcov), &t)) {
		t.c_oflag &= ~OPOST;
		tcsetattr(fileno(gcov), TCSANOW, &t);
	}
	/* Do not follow links: the build directory is not in this machine. */
	nftw("/sys/kernel/debug/gcov", write_gcov, 8, FTW_PHYS);
	fflush(gcov);
	tcdrain(fileno(gcov));
	fclose(gcov);
}

static void open_console(void)
{
	int fd;

	/* The initramfs may have no /dev/console for the kernel to open. */
	mkdir("/dev", 0755);
	mknod("/dev/console", S_IFCHR | 0600, makedev(5, 1));
	fd = open("/dev/console", O_RDWR);
	for (int i = 0; i < 3 && fd >= 0; i++)
		dup2(fd, i);
}

int main(int argc, char *argv[])
{
	const char *tty = getenv("lab_tty");
	char program[64], *shell[] = { program, NULL };
	char **cmd = argc > 1 ? argv + 1 : shell;
	int status;

	open_console();
	puts("\nlab: up");
	fflush(stdout);
	mount_all();
	apply_settings();
	enable_swap("/dev/ram0");
	setenv("HOME", "/", 1);
	setenv("PATH", "/bin", 1);

	/* KVM's selftests open argv[0] as a file. */
	snprintf(program, sizeof(program), "/bin/%s", argc > 1 ? argv[1] : "sh");
	cmd[0] = program;
	status = run(cmd, tty, !tty && strcmp(program, "/bin/sh"));
	if (getenv("lab_gcov"))
		hand_out_gcov(getenv("lab_gcov"));

	/* boot.sh looks for this line: let no kernel message but a panic tear it. */
	flush_log();
	klogctl(KLOG_CONSOLE_LEVEL, NULL, 1);
	sync();
	printf("\nlab: exit status %d\n", status);
	fflush(stdout);
	tcdrain(STDOUT_FILENO);

	reboot(RB_POWER_OFF);
	reboot(RB_AUTOBOOT);
	return 1;
}
