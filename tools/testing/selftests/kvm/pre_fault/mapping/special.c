// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY over special memory: secret memory, which only its owner may
 * access, device memory, and the vDSO.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <elf.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "../pre_fault.h"

#define NR_PAGES	1024
#define SIZE		(NR_PAGES * PAGE_SIZE)
#define BYTES(pages)	((pages) * PAGE_SIZE)

#ifndef __NR_memfd_secret
#define __NR_memfd_secret 447
#endif

static void put_secret(void *page, uint64_t gpa)
{
	int fd = syscall(__NR_memfd_secret, 0);

	if (fd < 0)
		pf_skip("no secret memory: %s", strerror(errno));
	TEST_ASSERT(!ftruncate(fd, PAGE_SIZE), "ftruncate()");
	TEST_ASSERT(mmap(page, PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, fd, 0) == page,
		    "mmap() of secret memory: errno %d", errno);
	close(fd);
	pf_fill(page, gpa, PAGE_SIZE, 1);
}

static void nothing(void *page)
{
}

static void unlock(void *page)
{
	munlock(page, PAGE_SIZE);
}

static void dump(void *page)
{
	madvise(page, PAGE_SIZE, MADV_DODUMP);
}

static void forget(void *page)
{
	madvise(page, PAGE_SIZE, MADV_DONTNEED);
}

/* Secret memory is never mapped, whether the process has touched it or not. */
static void secretmem(void)
{
	static void (*const doings[])(void *page) = {
		nothing, unlock, dump, forget
	};
	static const uint64_t secret[] = { 5, 511, 512, 1000 };
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, SIZE);
	uint64_t next = 0, nr;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(secret); i++) {
		void *page = mem + BYTES(secret[i]);

		put_secret(page, TEST_GPA + BYTES(secret[i]));
		doings[i](page);
	}

	for (i = 0; i < ARRAY_SIZE(secret); i++) {
		nr = secret[i] - next;
		if (nr)
			pf_expect_pages(vcpu, TEST_GPA + BYTES(next),
					SIZE - BYTES(next), 0, BYTES(nr), nr);
		pf_expect_pages(vcpu, TEST_GPA + BYTES(secret[i]), PAGE_SIZE,
				EFAULT, 0, 0);
		next = secret[i] + 1;
	}
	pf_map_pages(vcpu, TEST_GPA + BYTES(next), SIZE - BYTES(next),
		     NR_PAGES - next);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA + BYTES(next),
			  NR_PAGES - next, 1, NR_PAGES - next);
}

/* The first page of a PCI device's registers that can be mapped */
static void *map_device(void)
{
	static const char dir[] = "/sys/bus/pci/devices";
	DIR *devices = opendir(dir);
	struct dirent *entry;
	void *mem = MAP_FAILED;
	char path[sizeof(dir) + 300];
	int fd, bar;

	while (devices && mem == MAP_FAILED && (entry = readdir(devices))) {
		for (bar = 0; bar < 6 && mem == MAP_FAILED; bar++) {
			snprintf(path, sizeof(path), "%s/%s/resource%d", dir,
				 entry->d_name, bar);
			fd = open(path, O_RDWR);
			if (fd < 0)
				continue;
			mem = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
				   MAP_SHARED, fd, 0);
			close(fd);
		}
	}
	if (mem == MAP_FAILED)
		pf_skip("no device with registers to map");
	pr_info("%s\n", path);
	closedir(devices);
	return mem;
}

/* Device memory is mapped as in a fault, without a struct page. */
static void device_memory(void)
{
	void *mem = pf_mem(PF_ANON, SIZE, 1), *device = map_device();
	struct kvm_vcpu *vcpu;
	unsigned int i;

	TEST_ASSERT(mremap(device, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE |
			   MREMAP_FIXED, mem + BYTES(100)) == mem + BYTES(100),
		    "mremap()");
	vcpu = pf_memory_vcpu(0, mem, SIZE);
	for (i = 0; i < 3; i++) {
		pf_map_pages(vcpu, TEST_GPA, SIZE, NR_PAGES);
		pf_map_pages(vcpu, TEST_GPA, SIZE, 0);
		pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, 100, 1, 100);
		pf_guest_no_fault(vcpu, PF_WRITE, TEST_GPA + BYTES(101),
				  NR_PAGES - 101, 1, NR_PAGES - 101);
		vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, 0,
					  NULL);
		vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, SIZE,
					  mem);
	}
}

/* The guest may read the vDSO, but not write it. */
static void vdso_memory(void)
{
	uint64_t *vdso = (void *)getauxval(AT_SYSINFO_EHDR), word;
	struct kvm_vcpu *vcpu;

	if (!vdso)
		pf_skip("no vDSO");
	word = vdso[0];
	vcpu = pf_guest_vcpu();
	if (__vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA,
					PAGE_SIZE, vdso)) {
		TEST_ASSERT(errno == EPERM, "a memslot of the vDSO: errno %d",
			    errno);
		pf_skip("no memslot for what can't be written");
	}
	pf_map_pages(vcpu, TEST_GPA, PAGE_SIZE, 1);
	pf_guest_order(vcpu, PF_WRITE, TEST_GPA, 1, 1);
	TEST_ASSERT(__vcpu_run(vcpu) == -1 && errno == EFAULT,
		    "the guest could write the vDSO");
	TEST_ASSERT(READ_ONCE(vdso[0]) == word, "the guest did write the vDSO");
}

const struct pf_test pf_special_tests[] = {
	PF_TEST_BATCH(secretmem),
	PF_TEST_BATCH(device_memory),
	PF_TEST_BATCH(vdso_memory),
	{ }
};
