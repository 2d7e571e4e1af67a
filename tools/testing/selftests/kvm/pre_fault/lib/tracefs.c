// SPDX-License-Identifier: GPL-2.0-only
/*
 * A trace instance of its own for the test that runs.
 */
#define _GNU_SOURCE
#include <sys/stat.h>

#include "../pre_fault.h"

#define INSTANCE	"instances/pre_fault_memory"
#define TRACE_BYTES	(4ul << 20)

static char tracefs[64];

static const char *trace_path(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/" INSTANCE "/%s", tracefs, name);
	return path;
}

void pf_trace_start(const char * const events[], pid_t only)
{
	static const char * const dirs[] = {
		"/sys/kernel/tracing", "/sys/kernel/debug/tracing",
	};
	char text[64];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(tracefs, sizeof(tracefs), "%s", dirs[i]);
		mkdir(trace_path(""), 0700);
		if (!access(trace_path("trace"), W_OK))
			break;
	}
	if (i == ARRAY_SIZE(dirs))
		pf_skip("no tracefs mounted");

	pf_write_str(trace_path("trace"), "");
	TEST_ASSERT(!pf_write_str(trace_path("trace_clock"), "mono"),
		    "trace_clock");
	if (only) {
		snprintf(text, sizeof(text), "%d", only);
		TEST_ASSERT(!pf_write_str(trace_path("set_event_pid"), text),
			    "set_event_pid");
	}
	for (; *events; events++) {
		snprintf(text, sizeof(text), "events/%s/enable", *events);
		TEST_ASSERT(!pf_write_str(trace_path(text), "1"),
			    "can't enable %s", *events);
	}
}

char *pf_trace_stop(void)
{
	char *text = calloc(1, TRACE_BYTES);
	size_t len = 0;
	ssize_t n;
	int fd;

	pf_write_str(trace_path("events/enable"), "0");
	fd = open(trace_path("trace"), O_RDONLY);
	TEST_ASSERT(fd >= 0 && text, "%s", trace_path("trace"));
	while (len < TRACE_BYTES - 1) {
		n = read(fd, text + len, TRACE_BYTES - 1 - len);
		if (n <= 0)
			break;
		len += n;
	}
	close(fd);
	rmdir(trace_path(""));
	return text;
}
