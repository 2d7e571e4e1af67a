// SPDX-License-Identifier: GPL-2.0-only
/*
 * Count the guest's faults, for architectures where KVM has no statistic of them.
 */
#define _GNU_SOURCE
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "../pre_fault.h"

int pf_open_faults(const char *filter)
{
	struct perf_event_attr attr = { .size = sizeof(attr) };
	int fd;

	if (!pf_arch_fault_event(&attr))
		return -ENOENT;
	fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		return -errno;
	TEST_ASSERT(!filter || !ioctl(fd, PERF_EVENT_IOC_SET_FILTER, filter),
		    "PERF_EVENT_IOC_SET_FILTER: errno %d", errno);
	return fd;
}

uint64_t pf_read_faults(int fd)
{
	uint64_t count;

	TEST_ASSERT(read(fd, &count, sizeof(count)) == sizeof(count),
		    "read of a perf event");
	return count;
}

uint64_t pf_count_faults(const char *filter)
{
	static __thread pid_t owner;
	static __thread int fd;

	if (owner != pf_gettid()) {
		fd = pf_open_faults(filter);
		if (fd < 0)
			pf_skip("faults can't be counted: %s", strerror(-fd));
		owner = pf_gettid();
	}

	return pf_read_faults(fd);
}
