// SPDX-License-Identifier: GPL-2.0-only
/*
 * Show the effect of KVM_PRE_FAULT_MEMORY: a guest reads all of its memory in a new
 * VM, and then in another VM whose memory was pre-faulted.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "pre_fault.h"

#define EXIT_NO_CAPABILITY	2
#define MAX_BACKINGS		16

static void usage(void)
{
	printf("Usage: pre_fault [OPTION]...\n"
	       "Run a guest over all of its memory, once without and once after\n"
	       "KVM_PRE_FAULT_MEMORY, and compare the stage-2 faults and the cost.\n"
	       "\n"
	       "  -m, --memory SIZE   guest memory, at most 3G; K, M, G are understood\n"
	       "                      (default 64M)\n"
	       "  -b, --backing TYPE  type of host memory, may be repeated (default: all\n"
	       "                      but hugetlb):\n");
	for (unsigned int i = 0; i < nr_backings; i++)
		printf("                        %-8s %s\n", backings[i].name,
		       backings[i].what);
	printf("  -c, --vcpus N       vCPUs, each with a part of the memory (default 1)\n"
	       "  -i, --icount        the machine's clock counts instructions, as with\n"
	       "                      qemu -icount shift=0\n"
	       "  -n, --no-pre-fault  run only without a pre-fault\n"
	       "  -h, --help          this text\n");
	guest_usage();
	printf("\n"
	       "The cost is in instructions where the PMU can be used, otherwise in ns.\n"
	       "\n"
	       "Exit status: 0 if every run went well, 1 if one failed or options were bad,\n"
	       "2 if this KVM has no KVM_PRE_FAULT_MEMORY.\n");
}

static void bad_usage(void)
{
	errx(EXIT_FAILURE, "try pre_fault --help");
}

static uint64_t parse_size(const char *arg)
{
	static const char suffixes[] = "KMG";
	unsigned long long size;
	const char *suffix;
	int shift = 0;
	char *end;

	errno = 0;
	size = strtoull(arg, &end, 10);
	if (*end) {
		suffix = strchr(suffixes, *end & ~0x20);
		if (!suffix || end[1])
			end = (char *)arg;
		else
			shift = 10 * (suffix - suffixes + 1);
	}
	if (end == arg || *arg < '0' || *arg > '9') {
		warnx("--memory %s: not a size", arg);
		bad_usage();
	}
	if (errno || size > MEM_MAX >> shift)
		errx(EXIT_FAILURE, "--memory %s: the guest can reach 3G only",
		     arg);

	size <<= shift;
	if (!size || size % SZ_4K)
		errx(EXIT_FAILURE, "--memory %s: not a positive multiple of 4K", arg);
	return size;
}

static unsigned int parse_vcpus(const char *arg)
{
	char *end;
	long nr;

	errno = 0;
	nr = strtol(arg, &end, 10);
	if (errno || end == arg || *end || nr < 1 || nr > 65536) {
		warnx("--vcpus %s: not a number of vCPUs", arg);
		bad_usage();
	}
	return nr;
}

static unsigned int parse_options(int argc, char **argv, struct options *opts,
				  struct result *results)
{
	static const struct option long_options[] = {
		{ "memory", required_argument, NULL, 'm' },
		{ "backing", required_argument, NULL, 'b' },
		{ "vcpus", required_argument, NULL, 'c' },
		{ "icount", no_argument, NULL, 'i' },
		{ "no-pre-fault", no_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ "kernel", required_argument, NULL, GUEST_KERNEL },
		{ "initrd", required_argument, NULL, GUEST_INITRD },
		{ "append", required_argument, NULL, GUEST_APPEND },
		{ "prompt", required_argument, NULL, GUEST_PROMPT },
		{ "save", required_argument, NULL, GUEST_SAVE },
		{ "command", required_argument, NULL, GUEST_COMMAND },
		{ "restore", required_argument, NULL, GUEST_RESTORE },
		{ "working-set", required_argument, NULL, GUEST_WORKING_SET },
		{ "time-limit", required_argument, NULL, GUEST_TIME_LIMIT },
		{ }
	};
	unsigned int nr = 0;
	int opt;

	while ((opt = getopt_long(argc, argv, "m:b:c:inh", long_options,
				  NULL)) != -1) {
		switch (opt) {
		case 'm':
			opts->memory = parse_size(optarg);
			break;
		case 'b':
			if (nr == MAX_BACKINGS)
				errx(EXIT_FAILURE, "too many --backing");
			results[nr].backing = backing_find(optarg);
			if (!results[nr++].backing) {
				warnx("--backing %s: no such type", optarg);
				bad_usage();
			}
			break;
		case 'c':
			opts->vcpus = parse_vcpus(optarg);
			break;
		case 'i':
			opts->icount = true;
			break;
		case 'n':
			opts->pre_fault = false;
			break;
		case 'h':
			usage();
			exit(EXIT_SUCCESS);
		default:
			if (!guest_option(opt, optarg))
				bad_usage();
		}
	}
	if (optind < argc) {
		warnx("%s: unexpected argument", argv[optind]);
		bad_usage();
	}
	if (!guest_options_fit())
		bad_usage();

	if (!nr) {
		for (unsigned int i = 0; i < nr_backings; i++) {
			if (backings[i].by_default)
				results[nr++].backing = &backings[i];
		}
	}
	for (unsigned int i = 0; i < nr; i++) {
		if (opts->memory % results[i].backing->unit)
			errx(EXIT_FAILURE,
			     "--memory: %s needs a multiple of 2M",
			     results[i].backing->name);
	}
	if (opts->memory / SZ_4K < opts->vcpus)
		errx(EXIT_FAILURE, "--vcpus: more vCPUs than pages of memory");
	return nr;
}

static int open_kvm(const struct options *opts)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int max;

	if (fd < 0) {
		int error = errno;

		warn("/dev/kvm");
		if (error == EACCES || error == EPERM)
			warnx("you may have to be in its group, often kvm");
		else if (error == ENOENT || error == ENODEV || error == ENXIO)
			warnx("no KVM: not built or loaded, or the CPU has no virtualization");
		exit(EXIT_FAILURE);
	}
	if (ioctl(fd, KVM_GET_API_VERSION, 0UL) != KVM_API_VERSION)
		errx(EXIT_FAILURE, "/dev/kvm: not the KVM API version %d",
		     KVM_API_VERSION);

	max = ioctl(fd, KVM_CHECK_EXTENSION, (unsigned long)KVM_CAP_MAX_VCPUS);
	if (max > 0 && opts->vcpus > (unsigned int)max)
		errx(EXIT_FAILURE, "--vcpus: at most %d here", max);
	return fd;
}

static bool parameter_is_off(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char value = 0;

	if (fd < 0)
		return false;
	if (read(fd, &value, 1) != 1)
		value = 0;
	close(fd);
	return value == 'N' || value == '0';
}

static bool uses_shadow_paging(void)
{
	return parameter_is_off("/sys/module/kvm_amd/parameters/npt") ||
	       parameter_is_off("/sys/module/kvm_intel/parameters/ept");
}

static void check_capability(int kvm_fd)
{
	struct utsname uts;

	if (ioctl(kvm_fd, KVM_CHECK_EXTENSION,
		  (unsigned long)KVM_CAP_PRE_FAULT_MEMORY) > 0)
		return;

	warnx("this KVM has no KVM_PRE_FAULT_MEMORY (capability %d)",
	      KVM_CAP_PRE_FAULT_MEMORY);
	if (uses_shadow_paging())
		warnx("it uses shadow paging (npt or ept is off), which has nothing to pre-fault");
	else if (!uname(&uts))
		warnx("Linux %s may be too old for it, or KVM uses shadow paging",
		      uts.release);
	warnx("--no-pre-fault runs the guest without it");
	exit(EXIT_NO_CAPABILITY);
}

static int run_backing(int kvm_fd, const struct options *opts,
		       struct result *res)
{
	const char *name = res->backing->name;
	struct memory mem = { 0 };
	int ret;

	progress_say(name, "filling memory");
	if (memory_create(&mem, res->backing, opts->memory))
		return -1;

	progress_say(name, "guest without pre-fault");
	ret = measure(kvm_fd, &mem, opts, name, false, &res->without);
	if (!ret && opts->pre_fault)
		ret = measure(kvm_fd, &mem, opts, name, true, &res->with);
	if (res->backing->private_file)
		res->copied = memory_copied_pages(&mem);
	memory_destroy(&mem);
	return ret;
}

int main(int argc, char **argv)
{
	struct options opts = {
		.memory = 64ULL << 20,
		.vcpus = 1,
		.pre_fault = true,
	};
	struct result results[MAX_BACKINGS] = { 0 };
	int kvm_fd, ret = EXIT_SUCCESS;
	unsigned int nr;
	char size[32];

	nr = parse_options(argc, argv, &opts, results);
	kvm_fd = open_kvm(&opts);
	if (opts.pre_fault)
		check_capability(kvm_fd);
	else if (uses_shadow_paging())
		printf("KVM uses shadow paging (npt or ept is off): there are no stage-2 faults,\n"
		       "and the faults below are those of shadow page tables.\n\n");
	counter_select(opts.icount);
	if (guest_wanted())
		return guest_run(kvm_fd, &opts, results, nr) ? EXIT_FAILURE : 0;

	format_size(size, sizeof(size), opts.memory);
	printf("The guest reads one word of each 4K page of its %s, %u vCPU%s.\n",
	       size, opts.vcpus, opts.vcpus > 1 ? "s" : "");
	fflush(stdout);

	for (unsigned int i = 0; i < nr; i++) {
		struct result *res = &results[i];

		res->failed = run_backing(kvm_fd, &opts, res);
		if (!res->failed)
			progress_end();
		if (res->failed || res->copied > 0 ||
		    (opts.pre_fault && pre_fault_was_useless(res)))
			ret = EXIT_FAILURE;
	}
	table_print(results, nr, &opts);
	close(kvm_fd);
	return ret;
}
