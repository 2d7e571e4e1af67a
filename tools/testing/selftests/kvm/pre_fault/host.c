// SPDX-License-Identifier: GPL-2.0-only
/*
 * Host side of the KVM_PRE_FAULT_MEMORY tests: what can be done to memory by
 * others, i.e. swap, userfaultfd and KSM.
 */
#define _GNU_SOURCE
#include <linux/userfaultfd.h>
#include <sys/syscall.h>

#include "pre_fault.h"

void pf_need_swap(void)
{
	char swaps[512] = "";
	int fd;

	/* One line is the heading. */
	fd = open("/proc/swaps", O_RDONLY);
	if (fd < 0 || read(fd, swaps, sizeof(swaps) - 1) < 0 ||
	    strchr(swaps, '\n') == strrchr(swaps, '\n'))
		pf_skip("no swap");
	close(fd);
}

int pf_uffd_open(void *mem, size_t size, uint64_t mode)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { .start = (unsigned long)mem, .len = size },
		.mode = mode,
	};
	int fd;

	fd = syscall(__NR_userfaultfd, O_CLOEXEC);
	if (fd < 0)
		pf_skip("no userfaultfd for faults of the kernel: %s",
			strerror(errno));
	TEST_ASSERT(!ioctl(fd, UFFDIO_API, &api), "UFFDIO_API");
	if (ioctl(fd, UFFDIO_REGISTER, &reg)) {
		TEST_ASSERT(mode & UFFDIO_REGISTER_MODE_WP, "UFFDIO_REGISTER");
		pf_skip("no userfaultfd to write-protect this memory: %s",
			strerror(errno));
	}
	return fd;
}

void *pf_uffd_wait(int fd)
{
	struct uffd_msg msg;

	TEST_ASSERT(read(fd, &msg, sizeof(msg)) == sizeof(msg) &&
		    msg.event == UFFD_EVENT_PAGEFAULT, "read of userfaultfd");
	return (void *)(msg.arg.pagefault.address & ~(PAGE_SIZE - 1));
}

void pf_uffd_copy(int fd, void *page, void *data)
{
	struct uffdio_copy copy = {
		.dst = (unsigned long)page,
		.src = (unsigned long)data,
		.len = PAGE_SIZE,
	};

	TEST_ASSERT(!ioctl(fd, UFFDIO_COPY, &copy), "UFFDIO_COPY");
}

int __pf_uffd_protect(int fd, void *page, bool protect)
{
	struct uffdio_writeprotect wp = {
		.range = { (unsigned long)page, PAGE_SIZE },
		.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(fd, UFFDIO_WRITEPROTECT, &wp);
}

void pf_uffd_protect(int fd, void *page, bool protect)
{
	TEST_ASSERT(!__pf_uffd_protect(fd, page, protect), "UFFDIO_WRITEPROTECT");
}

#define KSM(file)	"/sys/kernel/mm/ksm/" file

void pf_ksm_start(void)
{
	if (pf_read_long(KSM("run")) < 0)
		pf_skip("no KSM");
	if (pf_write_str(KSM("run"), "1") ||
	    pf_write_str(KSM("sleep_millisecs"), "1") ||
	    pf_write_str(KSM("pages_to_scan"), "1000"))
		pf_skip("can't start KSM");
}

void pf_ksm_stop(void)
{
	pf_write_str(KSM("run"), "0");
}

void pf_ksm_scan(void)
{
	double end = pf_now() + 20.0 * pf_slowness;
	long scans = pf_read_long(KSM("full_scans"));

	/* The second scan finds what has not changed since the first. */
	while (pf_read_long(KSM("full_scans")) < scans + 3) {
		TEST_ASSERT(pf_now() < end, "ksmd does nothing");
		usleep(1000);
	}
}

long pf_ksm_merged(void)
{
	return pf_read_long(KSM("pages_sharing"));
}
