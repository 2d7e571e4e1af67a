// SPDX-License-Identifier: GPL-2.0-only
/*
 * The cost of a piece of work: instructions by the PMU (user, kernel and guest
 * alike), or else time.  On a machine whose clock advances by 1 ns with each
 * instruction, time is instructions.
 */
#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pre_fault.h"

static enum { USE_CLOCK, USE_ICOUNT, USE_PMU } source;

static int pmu_open(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_HW_INSTRUCTIONS,
		.pinned = 1,
	};

	return syscall(SYS_perf_event_open, &attr, 0, -1, -1,
		       PERF_FLAG_FD_CLOEXEC);
}

static int pmu_read(int fd, uint64_t *value)
{
	ssize_t ret = read(fd, value, sizeof(*value));

	if (ret == sizeof(*value))
		return 0;
	/* At end of file, a pinned counter could not be scheduled on the PMU. */
	if (ret >= 0)
		errno = EBUSY;
	return -1;
}

void counter_select(bool icount)
{
	uint64_t a, b;
	int fd;

	if (icount) {
		source = USE_ICOUNT;
		return;
	}

	fd = pmu_open();
	if (fd < 0)
		return;
	/* Some virtual PMUs can be opened but never count. */
	if (!pmu_read(fd, &a) && !pmu_read(fd, &b) && b > a)
		source = USE_PMU;
	close(fd);
}

const char *counter_unit(void)
{
	return source == USE_CLOCK ? "ns" : "instructions";
}

const char *counter_unit_of_millions(void)
{
	return source == USE_CLOCK ? "ms" : "millions of instructions";
}

bool counter_is_clock(void)
{
	return source != USE_PMU;
}

int counter_open(struct counter *counter)
{
	counter->fd = -1;
	if (source == USE_PMU) {
		counter->fd = pmu_open();
		if (counter->fd < 0)
			return -1;
	}
	return 0;
}

int counter_read(const struct counter *counter, uint64_t *value)
{
	struct timespec ts;

	if (source == USE_PMU)
		return pmu_read(counter->fd, value);

	if (clock_gettime(CLOCK_MONOTONIC, &ts))
		return -1;
	*value = ts.tv_sec * 1000000000ULL + ts.tv_nsec;
	return 0;
}

void counter_close(struct counter *counter)
{
	if (counter->fd >= 0)
		close(counter->fd);
	counter->fd = -1;
}
