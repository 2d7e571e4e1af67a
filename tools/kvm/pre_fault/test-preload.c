// SPDX-License-Identifier: GPL-2.0-only
/* Test how libkvm_pre_fault.so follows VMs and shares its work, with a fake KVM. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake-vm.h"

static void test_before_the_guest(void)
{
	memset(map_anon(), 1, MEM_SIZE);
	create_vm(1);
	set_slot(vm, 0, 0, SZ_2M, MEM_SIZE, mem);
	CHECK_EQUAL(fake.calls, 0);
	CHECK_EQUAL(ioctl(vcpu[0], KVM_RUN, 0), 0);
	CHECK_EQUAL(fake.runs, 1);
	CHECK_EQUAL(fake.calls_before_run, 1);
	CHECK_EQUAL(hits(512, NR_PAGES, 1), NR_PAGES);
	CHECK_EQUAL(hits(0, MAX_PAGES, 1), NR_PAGES);
	ioctl(vcpu[0], KVM_RUN, 0);
	CHECK_EQUAL(fake.calls, 1);
	CHECK_EQUAL(fake.runs, 2);
	CHECK_EQUAL(fake.enabled, 0);
}

static void test_region2(void)
{
	uint64_t region2[20] = { 3, SZ_2M, MEM_SIZE };

	memset(map_anon(), 1, MEM_SIZE);
	region2[3] = (uintptr_t)mem;
	create_vm(1);
	ioctl(vm, _IOW(KVMIO, 0x49, char[160]), region2);
	ioctl(vcpu[0], KVM_RUN, 0);
	CHECK_EQUAL(hits(512, NR_PAGES, 1), NR_PAGES);
}

/* Delete and add a slot, which makes a round due. */
static void flip(void)
{
	set_slot(vm, 1, 0, 0, 0, NULL);
	set_slot(vm, 1, 0, SZ_2M, SZ_4K, mem + SZ_2M);
}

static void set_up_flips(void)
{
	memset(map_anon(), 1, MEM_SIZE);
	create_vm(1);
	set_slot(vm, 0, 0, 0, SZ_2M, mem);
	set_slot(vm, 1, 0, SZ_2M, SZ_4K, mem + SZ_2M);
	ioctl(vcpu[0], KVM_RUN, 0);
	CHECK_EQUAL(hits(0, 513, 1), 513);
}

static void test_again(void)
{
	options.again = 3;
	set_up_flips();
	for (int i = 1; i <= 5; i++) {
		flip();
		ioctl(vcpu[0], KVM_RUN, 0);
		ioctl(vcpu[0], KVM_RUN, 0);
		CHECK_EQUAL(hits(0, 513, 1 + (i < 3 ? i : 3)), 513);
	}
}

static void test_settle(void)
{
	options.settle = 3600000;
	set_up_flips();
	flip();
	ioctl(vcpu[0], KVM_RUN, 0);
	CHECK_EQUAL(hits(0, 513, 1), 513);
	options.settle = 0;
	ioctl(vcpu[0], KVM_RUN, 0);
	CHECK_EQUAL(hits(0, 513, 2), 513);
}

/* Enabling dirty logging drops no mappings. */
static void test_new_flags(void)
{
	set_up_flips();
	set_slot(vm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, SZ_2M, mem);
	ioctl(vcpu[0], KVM_RUN, 0);
	CHECK_EQUAL(hits(0, 513, 1), 513);
	flip();
	ioctl(vcpu[0], KVM_RUN, 0);
	CHECK_EQUAL(hits(0, 512, 1), 512);
	CHECK_EQUAL(fake.hits[512], 2);
}

static void test_keep_mappings(void)
{
	fake.quirks = 0xff;
	options.keep = true;
	set_up_flips();
	CHECK_EQUAL(fake.enabled, 1);
	CHECK_EQUAL(fake.enabled_args, 1 << 7);
	/* Deleting a slot drops no other mappings. */
	set_slot(vm, 1, 0, 0, 0, NULL);
	ioctl(vcpu[0], KVM_RUN, 0);
	CHECK_EQUAL(hits(0, 513, 1), 513);

	fake.enabled = 0;
	fake.quirks = 0x7f;
	create_vm(0);
	options.keep = false;
	fake.quirks = 0xff;
	create_vm(0);
	CHECK_EQUAL(fake.enabled, 0);
}

static void test_several_vms(void)
{
	int first, second;

	memset(map_anon(), 1, MEM_SIZE);
	first = create_vm(2);
	second = create_vm(1);
	set_slot(first, 0, 0, 0, SZ_2M, mem);
	set_slot(second, 0, 0, SZ_2M, SZ_2M, mem + SZ_2M);
	ioctl(vcpu[0], KVM_RUN, 0);
	CHECK_EQUAL(hits(512, 512, 1), 512);
	CHECK_EQUAL(fake.calls_of[2], fake.calls);
	ioctl(vcpu[1], KVM_RUN, 0);
	CHECK_EQUAL(hits(0, 1024, 1), 1024);
	CHECK_EQUAL(fake.calls_of[1], fake.calls - fake.calls_of[2]);
}

static void *run_vcpu(void *arg)
{
	ioctl(*(int *)arg, KVM_RUN, 0);
	return NULL;
}

static void run_all_vcpus(void)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, run_vcpu, &vcpu[i]);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

static void test_vcpus_share(void)
{
	map_anon();
	/* Every 16th page, so that there are many calls */
	for (uint64_t i = 0; i < NR_PAGES; i += 16)
		mem[i * SZ_4K] = 1;
	fake.delay = 2000;
	create_vm(4);
	set_slot(vm, 0, 0, 0, MEM_SIZE, mem);
	run_all_vcpus();
	CHECK_EQUAL(hits(0, MAX_PAGES, 1), NR_PAGES / 16);
	/* Two pieces of 2M: two vCPUs work, and no vCPU enters before the end. */
	CHECK_EQUAL(!!fake.calls_of[0] + !!fake.calls_of[1] + !!fake.calls_of[2] +
		    !!fake.calls_of[3], 2);
	CHECK_EQUAL(fake.calls_before_run, fake.calls);
	CHECK_EQUAL(fake.runs, 4);
}

/* A kicked vCPU must get to KVM_RUN without a pre-fault. */
static void test_kick(void)
{
	struct kvm_run *run;

	memset(map_anon(), 1, MEM_SIZE);
	create_vm(1);
	set_slot(vm, 0, 0, 0, MEM_SIZE, mem);
	run = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu[0], 0);
	run->immediate_exit = 1;
	ioctl(vcpu[0], KVM_RUN, 0);
	CHECK_EQUAL(fake.calls, 0);
	CHECK_EQUAL(fake.runs, 1);
	run->immediate_exit = 0;
	ioctl(vcpu[0], KVM_RUN, 0);
	CHECK_EQUAL(hits(0, NR_PAGES, 1), NR_PAGES);
	munmap(run, SZ_4K);
}

/* Run a VM, without a call and without a change of a quirk. */
static void run_untouched(void)
{
	options.keep = true;
	fake.quirks = 0xff;
	memset(map_anon(), 1, MEM_SIZE);
	create_vm(1);
	set_slot(vm, 0, 0, 0, MEM_SIZE, mem);
	ioctl(vcpu[0], KVM_RUN, 0);
	CHECK_EQUAL(fake.calls + fake.enabled, 0);
	CHECK_EQUAL(fake.runs, 1);
}

static void test_no_capability(void)
{
	fake.supported = false;
	run_untouched();
}

static void test_dry_run(void)
{
	options.dry_run = true;
	run_untouched();
}

static void run_with_error(int error)
{
	fake.error = error;
	fake.error_gpa = 10 * SZ_4K;
	memset(map_anon(), 1, MEM_SIZE);
	create_vm(2);
	set_slot(vm, 0, 0, 0, MEM_SIZE, mem);
	errno = 0;
	CHECK_EQUAL(ioctl(vcpu[0], KVM_RUN, 0), 0);
	CHECK_EQUAL(errno, 0);
	CHECK_EQUAL(fake.runs, 1);
}

static void test_errors(void)
{
	run_with_error(EFAULT);
	CHECK_EQUAL(hits(0, NR_PAGES, 1), NR_PAGES - 1);
	reset_fake();
	run_with_error(EOPNOTSUPP);
	CHECK_EQUAL(hits(0, NR_PAGES, 1), 10);
	CHECK_EQUAL(fake.calls, 2);
}

static void test_duplicates(void)
{
	int copy, closed, other[3];

	memset(map_anon(), 1, MEM_SIZE);
	create_vm(1);
	copy = fcntl(vm, F_DUPFD_CLOEXEC, 100);
	close(vm);
	set_slot(copy, 0, 0, 0, SZ_2M, mem);
	closed = copy;
	copy = dup(vcpu[0]);
	CHECK_EQUAL(dup2(copy, 300), 300);
	CHECK_EQUAL(dup3(copy, 301, O_CLOEXEC), 301);
	close(copy);
	close(vcpu[0]);
	close(300);
	ioctl(301, KVM_RUN, 0);
	CHECK_EQUAL(hits(0, 512, 1), 512);
	close(closed);
	set_slot(closed, 0, 0, 0, MEM_SIZE, mem);
	ioctl(301, KVM_RUN, 0);
	CHECK_EQUAL(hits(0, 512, 1), 512);
	close(301);

	/* Other files that get the same numbers must not be followed. */
	for (unsigned int i = 0; i < ARRAY_SIZE(other); i++) {
		other[i] = open("/dev/null", O_RDWR);
		set_slot(other[i], 0, 0, 0, MEM_SIZE, mem);
	}
	CHECK(other[2] > vm && other[2] > vcpu[0]);
	for (unsigned int i = 0; i < ARRAY_SIZE(other); i++)
		ioctl(other[i], KVM_RUN, 0);
	CHECK_EQUAL(hits(0, MAX_PAGES, 1), 512);
}

/* A child may create VMs of its own, and must not pre-fault those of its parent. */
static void test_fork(void)
{
	int status;
	pid_t pid;

	memset(map_anon(), 1, MEM_SIZE);
	create_vm(1);
	set_slot(vm, 0, 0, 0, SZ_2M, mem);
	pid = fork();
	if (!pid) {
		ioctl(vcpu[0], KVM_RUN, 0);
		CHECK_EQUAL(fake.calls, 0);
		create_vm(1);
		set_slot(vm, 0, 0, SZ_2M, SZ_2M, mem + SZ_2M);
		ioctl(vcpu[0], KVM_RUN, 0);
		CHECK_EQUAL(hits(512, 512, 1), 512);
		CHECK_EQUAL(hits(0, 512, 0), 512);
		_exit(!!failure);
	}
	CHECK_EQUAL(waitpid(pid, &status, 0), pid);
	CHECK_EQUAL(status, 0);
	ioctl(vcpu[0], KVM_RUN, 0);
	CHECK_EQUAL(hits(0, 512, 1), 512);
}

static void *flip_slots(void *arg)
{
	for (int i = 0; i < 200; i++)
		flip();
	return arg;
}

/* For the sanitizers: change slots, duplicate and close files, and run vCPUs at once. */
static void test_threads(void)
{
	pthread_t flipper;

	options.again = MAX_AGAIN;
	memset(map_anon(), 1, MEM_SIZE);
	create_vm(4);
	set_slot(vm, 0, 0, 0, SZ_2M, mem);
	set_slot(vm, 1, 0, SZ_2M, SZ_4K, mem + SZ_2M);
	pthread_create(&flipper, NULL, flip_slots, NULL);
	for (int i = 0; i < 20; i++) {
		run_all_vcpus();
		close(dup(vcpu[i % 4]));
		report_json();
	}
	pthread_join(flipper, NULL);
	CHECK(fake.hits[0] >= 1);
	CHECK(fake.hits[0] <= 1 + MAX_AGAIN);
	CHECK_EQUAL(fake.runs, 80);
}

static void test_json(void)
{
	char path[] = "/tmp/test-preload.XXXXXX";
	static char text[4096];
	ssize_t len;
	int fd = mkstemp(path);

	close(fd);
	options.json = path;
	map_anon();
	memset(mem, 1, SZ_2M);
	create_vm(1);
	set_slot(vm, 0, 0, 0, MEM_SIZE, mem);
	set_slot(vm, 1, KVM_MEM_READONLY, 2 * MEM_SIZE, SZ_4K, mem);
	ioctl(vcpu[0], KVM_RUN, 0);
	/* The file was replaced. */
	fd = open(path, O_RDONLY);
	len = read(fd, text, sizeof(text) - 1);
	CHECK(len > 0);
	CHECK(strstr(text, "\"supported\": true, \"vcpus\": 1"));
	CHECK(strstr(text, "\"bytes\": 2097152, \"failed\": 0, \"calls\": 1"));
	CHECK(strstr(text, "\"rom\": 4096"));
	CHECK(strstr(text, "\"absent\": 2097152 }"));
	close(fd);
	unlink(path);
	options.json = NULL;
}

static void test_options(void)
{
	static const char *const bad[] = {
		"al", "again", "again=", "again=16", "again=-1", "again=1x", "settle=1e3",
		"all,,quiet", "json=",
	};
	char good[] = "all,again=7,settle=0,keep-mappings,dry-run,quiet,json=/a,b",
	     text[64];
	struct preload_options parsed;

	CHECK(!parse_options(&parsed, good));
	CHECK(parsed.all && parsed.keep && parsed.dry_run && parsed.quiet);
	CHECK_EQUAL(parsed.again, 7);
	CHECK_EQUAL(parsed.settle, 0);
	CHECK(!strcmp(parsed.json, "/a,b"));
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), "%s", bad[i]);
		CHECK(parse_options(&parsed, text));
	}
	CHECK(!parse_options(&parsed, NULL));
	CHECK_EQUAL(parsed.again, DEFAULT_AGAIN);
}

static const struct test tests[] = {
	{ "before_the_guest", test_before_the_guest },
	{ "region2", test_region2 },
	{ "again", test_again },
	{ "settle", test_settle },
	{ "new_flags", test_new_flags },
	{ "keep_mappings", test_keep_mappings },
	{ "several_vms", test_several_vms },
	{ "vcpus_share", test_vcpus_share },
	{ "kick", test_kick },
	{ "no_capability", test_no_capability },
	{ "dry_run", test_dry_run },
	{ "errors", test_errors },
	{ "duplicates", test_duplicates },
	{ "fork", test_fork },
	{ "threads", test_threads },
	{ "json", test_json },
	{ "options", test_options },
};

int main(int argc, char *argv[])
{
	(void)argc;
	return run_preload_tests(tests, ARRAY_SIZE(tests), argv);
}
