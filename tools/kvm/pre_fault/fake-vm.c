// SPDX-License-Identifier: GPL-2.0-only
/* Memory and a VM of the fake KVM, for the tests of libkvm_pre_fault.so */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake-vm.h"

/* The fake KVM ignores the file descriptor of /dev/kvm. */
#define KVM_FD		999

char *mem;
int vm, vcpu[4];

int set_slot(int fd, unsigned int id, unsigned int flags, uint64_t gpa,
	     uint64_t size, void *hva)
{
	struct kvm_userspace_memory_region region = {
		.slot = id,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)hva,
	};

	return ioctl(fd, KVM_SET_USER_MEMORY_REGION, &region);
}

char *map(int flags, int fd)
{
	mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, flags, fd, 0);
	CHECK(mem != MAP_FAILED);
	madvise(mem, MEM_SIZE, MADV_NOHUGEPAGE);
	return mem;
}

char *map_anon(void)
{
	return map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

int create_vm(unsigned int vcpus)
{
	vm = ioctl(KVM_FD, KVM_CREATE_VM, 0);
	for (unsigned int i = 0; i < vcpus; i++)
		vcpu[i] = ioctl(vm, KVM_CREATE_VCPU, i);
	return vm;
}

long hits(uint64_t first, uint64_t nr, int times)
{
	long n = 0;

	for (uint64_t i = first; i < first + nr; i++)
		n += fake.hits[i] == times;
	return n;
}

/* Close the files that the test before has left open. */
static void before_test(void)
{
	for (int fd = 3; fd < 600; fd++)
		close(fd);
	reset_fake();
	options = (struct preload_options) { .quiet = true, .again = 1 };
	host.ioctl = fake_ioctl;
}

static const char *after_test(void)
{
	if (mem)
		munmap(mem, MEM_SIZE);
	mem = NULL;
	return fake.complaint;
}

int run_preload_tests(const struct test *tests, size_t nr, char *argv[])
{
	/* The library has read its environment before main(): start again with options. */
	if (!getenv(PRELOAD_ENV)) {
		setenv(PRELOAD_ENV, "", 1);
		execv("/proc/self/exe", argv);
	}
	return run_tests(tests, nr, before_test, after_test);
}
