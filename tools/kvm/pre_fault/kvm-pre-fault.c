// SPDX-License-Identifier: GPL-2.0-only
/* Run a VMM with libkvm_pre_fault.so. See the manual page kvm-pre-fault.1. */
#include <elf.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "preload.h"

#define LIBRARY		"libkvm_pre_fault.so"

static const char usage[] =
"usage: kvm-pre-fault [OPTION...] [--] VMM [ARGUMENT...]\n"
"\n"
"Run a VMM that does not use KVM_PRE_FAULT_MEMORY, and have its vCPUs pre-fault the\n"
"guest memory that the host has in memory before they enter the guest.\n"
"\n"
"  -a, --all            also pre-fault memory that the host has to allocate\n"
"  -A, --again=N        run up to N rounds (4, at most 15) after slots have changed\n"
"  -s, --settle=MS      begin such a round MS ms (100) after the last change\n"
"  -k, --keep-mappings  have KVM keep the mappings of other slots when a slot is\n"
"                       deleted or moved (x86, 6.12 and later); changes the VM\n"
"  -n, --dry-run        follow the VMM, but do not pre-fault\n"
"  -j, --json=FILE      write a report to FILE\n"
"  -q, --quiet          print no line for each round\n"
"  -l, --library=FILE   the library, if it is not installed with the command\n"
"  -h, --help           this text\n"
"\n"
"The VMM has to be linked dynamically, and call ioctl() of the C library. A seccomp\n"
"filter that the VMM installs must allow ioctl 0xc040aed5. A kernel without the ioctl\n"
"runs the VMM as if without this command. See kvm-pre-fault(1).\n";

static const struct option long_options[] = {
	{ "all",		no_argument,		NULL, 'a' },
	{ "again",		required_argument,	NULL, 'A' },
	{ "settle",		required_argument,	NULL, 's' },
	{ "keep-mappings",	no_argument,		NULL, 'k' },
	{ "dry-run",		no_argument,		NULL, 'n' },
	{ "json",		required_argument,	NULL, 'j' },
	{ "quiet",		no_argument,		NULL, 'q' },
	{ "library",		required_argument,	NULL, 'l' },
	{ "help",		no_argument,		NULL, 'h' },
	{ 0 }
};

/* The library's options have the names of the command's. */
static const char *name_of(int c)
{
	const struct option *option = long_options;

	while (option->val != c)
		option++;
	return option->name;
}

/* Append "NAME,", or "NAME=VALUE,", to the options for the library. */
static void add(char **text, const char *name, const char *value)
{
	char *old = *text;

	if (asprintf(text, "%s%s%s%s,", old ? old : "", name, value ? "=" : "",
		     value ? value : "") < 0)
		err(2, "out of memory");
	free(old);
}

/* The VMM may change its directory before it writes the report. */
static char *absolute(const char *path)
{
	char *cwd, *result = NULL;

	if (*path == '/')
		return strdup(path);
	cwd = get_current_dir_name();
	if (!cwd || asprintf(&result, "%s/%s", cwd, path) < 0)
		err(2, "%s", path);
	free(cwd);
	return result;
}

/* Find the library beside the command, or in the directory that it is installed to. */
static char *find_library(void)
{
	static char self[4096];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *path, *slash;

	self[len > 0 ? len : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash) {
		*slash = '\0';
		if (asprintf(&path, "%s/" LIBRARY, self) < 0)
			err(2, "out of memory");
		if (!access(path, R_OK))
			return path;
		free(path);
	}
	return strdup(LIBDIR "/" LIBRARY);
}

static char *find_vmm(const char *name)
{
	char *dirs = strdup(getenv("PATH") ?: "/usr/bin:/bin"), *dir, *next = dirs, *path;

	if (strchr(name, '/'))
		return strdup(name);
	while ((dir = strsep(&next, ":"))) {
		if (asprintf(&path, "%s/%s", *dir ? dir : ".", name) < 0)
			err(2, "out of memory");
		if (!access(path, X_OK))
			return path;
		free(path);
	}
	errx(127, "%s: no such command", name);
}

static bool has_interpreter(int fd)
{
	Elf64_Ehdr header;
	Elf64_Phdr segment;

	if (pread(fd, &header, sizeof(header), 0) != sizeof(header) ||
	    memcmp(header.e_ident, ELFMAG, SELFMAG) ||
	    header.e_ident[EI_CLASS] != ELFCLASS64)
		return true;
	for (int i = 0; i < header.e_phnum; i++) {
		if (pread(fd, &segment, sizeof(segment),
			  header.e_phoff + i * sizeof(segment)) != sizeof(segment))
			return true;
		if (segment.p_type == PT_INTERP)
			return true;
	}
	return false;
}

/* Refuse programs for which the dynamic loader is not run, or ignores LD_PRELOAD. */
static void check_vmm(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return;
	if (!has_interpreter(fd))
		errx(2, "%s is linked statically: no library can be loaded into it", path);
	if (!fstat(fd, &st) && (st.st_mode & (S_ISUID | S_ISGID)))
		errx(2, "%s is setuid or setgid: the loader ignores LD_PRELOAD", path);
	close(fd);
}

static void set_preload(const char *library)
{
	const char *old = getenv("LD_PRELOAD");
	char *value;

	if (asprintf(&value, "%s%s%s", library, old && *old ? ":" : "", old ?: "") < 0 ||
	    setenv("LD_PRELOAD", value, 1))
		err(2, "LD_PRELOAD");
	free(value);
}

int main(int argc, char *argv[])
{
	char *text = NULL, *json = NULL, *library = NULL, *vmm, *copy;
	struct preload_options parsed;
	int c;

	while ((c = getopt_long(argc, argv, "+aA:s:knj:ql:h", long_options, NULL)) != -1) {
		switch (c) {
		case 'a':
		case 'k':
		case 'n':
		case 'q':
		case 'A':
		case 's':
			add(&text, name_of(c), optarg);
			break;
		case 'j':
			json = absolute(optarg);
			break;
		case 'l':
			library = absolute(optarg);
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs("kvm-pre-fault --help lists the options\n", stderr);
			return 2;
		}
	}
	if (optind == argc)
		errx(2, "no VMM given; kvm-pre-fault --help lists the options");
	if (json)
		add(&text, "json", json);
	if (json)
		text[strlen(text) - 1] = '\0';
	copy = strdup(text ?: "");
	if (!copy || parse_options(&parsed, copy))
		errx(2, "--again: 0 to 15, --settle: 0 to 3600000");
	free(copy);

	if (!library)
		library = find_library();
	if (access(library, R_OK))
		err(2, "%s", library);
	/* The loader splits LD_PRELOAD at blanks and colons. */
	if (strpbrk(library, " :"))
		errx(2, "%s: no blank or colon may be in the path", library);
	vmm = find_vmm(argv[optind]);
	check_vmm(vmm);
	set_preload(library);
	if (setenv(PRELOAD_ENV, text ?: "", 1))
		err(2, PRELOAD_ENV);
	execv(vmm, argv + optind);
	err(errno == ENOENT ? 127 : 126, "%s", vmm);
}
