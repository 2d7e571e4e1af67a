// SPDX-License-Identifier: GPL-2.0-only
/* Test which memory libkvm_pre_fault.so finds and pre-faults, with a fake KVM. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake-vm.h"

static void test_other_slots(void)
{
	memset(map_anon(), 1, MEM_SIZE);
	create_vm(1);
	set_slot(vm, 0, 0, 0, SZ_4K, mem);
	set_slot(vm, 1, KVM_MEM_READONLY, SZ_4K, SZ_4K, mem + SZ_4K);
	set_slot(vm, 2, 1 << 2, 2 * SZ_4K, SZ_4K, mem + 2 * SZ_4K);
	set_slot(vm, 3, KVM_MEM_LOG_DIRTY_PAGES, 3 * SZ_4K, SZ_4K, mem + 3 * SZ_4K);
	set_slot(vm, 1 << 16, 0, 4 * SZ_4K, SZ_4K, mem + 4 * SZ_4K);
	set_slot(vm, 5, 0, 5 * SZ_4K, SZ_4K, mem + 5 * SZ_4K);
	ioctl(vcpu[0], KVM_RUN, 0);
	CHECK_EQUAL(hits(0, MAX_PAGES, 1), 2);
	CHECK_EQUAL(fake.hits[0] + fake.hits[5], 2);
}

static void test_device(void)
{
	int fd = open("/dev/zero", O_RDWR);

	memset(map(MAP_PRIVATE, fd), 1, MEM_SIZE);
	close(fd);
	create_vm(1);
	set_slot(vm, 0, 0, 0, MEM_SIZE, mem);
	ioctl(vcpu[0], KVM_RUN, 0);
	CHECK_EQUAL(fake.calls, 0);
	munmap(mem, MEM_SIZE);

	memset(map_anon(), 1, MEM_SIZE);
	CHECK(!mprotect(mem + SZ_2M, SZ_4K, PROT_NONE));
	create_vm(1);
	set_slot(vm, 0, 0, 0, MEM_SIZE, mem);
	ioctl(vcpu[0], KVM_RUN, 0);
	CHECK_EQUAL(hits(0, MAX_PAGES, 1), NR_PAGES - 1);
	CHECK_EQUAL(fake.hits[512], 0);
}

/* Pre-fault the pages that were touched, and do not touch others. */
static void test_absent(void)
{
	static const uint64_t pages[] = { 1, 2, 100, 511, 512, NR_PAGES - 1 };

	map_anon();
	for (unsigned int i = 0; i < ARRAY_SIZE(pages); i++)
		mem[pages[i] * SZ_4K] = 1;
	create_vm(1);
	set_slot(vm, 0, 0, 0, MEM_SIZE, mem);
	ioctl(vcpu[0], KVM_RUN, 0);
	CHECK_EQUAL(hits(0, MAX_PAGES, 1), ARRAY_SIZE(pages));
	for (unsigned int i = 0; i < ARRAY_SIZE(pages); i++)
		CHECK_EQUAL(fake.hits[pages[i]], 1);
	CHECK_EQUAL(fake.calls, 4);
}

static void test_all(void)
{
	options.all = true;
	map_anon();
	create_vm(1);
	set_slot(vm, 0, 0, 0, MEM_SIZE, mem);
	ioctl(vcpu[0], KVM_RUN, 0);
	CHECK_EQUAL(hits(0, NR_PAGES, 1), NR_PAGES);
}

static int sparse_file(void)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);

	CHECK(!ftruncate(fd, MEM_SIZE));
	/* These two pages are in the page cache, and not mapped. */
	CHECK_EQUAL(pwrite(fd, "x", 1, 3 * SZ_4K), 1);
	CHECK_EQUAL(pwrite(fd, "x", 1, MEM_SIZE - 1), 1);
	CHECK_EQUAL(lseek(fd, 77, SEEK_SET), 77);
	return fd;
}

static void run_sparse(int flags, unsigned int more)
{
	int fd = sparse_file();

	map(flags, fd);
	if (more)
		mem[7 * SZ_4K] = 1;
	/* Two vCPUs divide the memory into pieces of 2M. */
	create_vm(2);
	set_slot(vm, 0, 0, 0, MEM_SIZE, mem);
	ioctl(vcpu[0], KVM_RUN, 0);
	CHECK_EQUAL(hits(0, MAX_PAGES, 1), 2 + more);
	CHECK_EQUAL(fake.hits[3] + fake.hits[NR_PAGES - 1], 2);
	CHECK_EQUAL(fake.hits[7], more);
	/* The VMM's offset has not moved. */
	CHECK_EQUAL(lseek(fd, 0, SEEK_CUR), 77);
	close(fd);
}

static void test_sparse(void)
{
	run_sparse(MAP_SHARED, 0);
}

static void test_private_copy(void)
{
	run_sparse(MAP_PRIVATE, 1);
}

/* mincore() reports holes as present, too. */
static void test_foreign(void)
{
	fake.foreign = true;
	run_sparse(MAP_SHARED, 0);
}

static void test_foreign_private_copy(void)
{
	fake.foreign = true;
	run_sparse(MAP_PRIVATE, 1);
}

static void test_foreign_part(void)
{
	int fd = sparse_file();

	fake.foreign = true;
	map(MAP_SHARED, fd);
	create_vm(1);
	/* The slot begins with the third page of the file, and ends before the last. */
	set_slot(vm, 0, 0, SZ_2M, SZ_2M, mem + 2 * SZ_4K);
	ioctl(vcpu[0], KVM_RUN, 0);
	CHECK_EQUAL(hits(0, MAX_PAGES, 1), 1);
	CHECK_EQUAL(fake.hits[513], 1);
	close(fd);
}

/* Without PROCMAP_QUERY, the mappings are read as text. */
static void test_old_kernel(void)
{
	fake.old = true;
	test_foreign_part();
	munmap(mem, MEM_SIZE);
	reset_fake();
	fake.old = true;
	test_other_slots();
}

static const struct test tests[] = {
	{ "other_slots", test_other_slots },
	{ "device", test_device },
	{ "absent", test_absent },
	{ "all", test_all },
	{ "sparse", test_sparse },
	{ "private_copy", test_private_copy },
	{ "foreign", test_foreign },
	{ "foreign_private_copy", test_foreign_private_copy },
	{ "foreign_part", test_foreign_part },
	{ "old_kernel", test_old_kernel },
};

int main(int argc, char *argv[])
{
	(void)argc;
	return run_preload_tests(tests, ARRAY_SIZE(tests), argv);
}
