/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Copyright (C) 2026 The KVM_PRE_FAULT_MEMORY maintainers
 *
 * A unit test: checks, of which the first that fails is reported, and a loop that runs
 * the tests and prints TAP.
 */
#ifndef TEST_H
#define TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

static const char *failure;
static char message[200];

#define CHECK(condition)						\
do {									\
	if (!(condition) && !failure) {					\
		snprintf(message, sizeof(message), "line %d: %s",	\
			 __LINE__, #condition);				\
		failure = message;					\
	}								\
} while (0)

#define CHECK_EQUAL(is, should)						\
do {									\
	long long _is = (is), _should = (should);			\
									\
	if (_is != _should && !failure) {				\
		snprintf(message, sizeof(message), "line %d: %s is %#llx, not %#llx", \
			 __LINE__, #is, _is, _should);			\
		failure = message;					\
	}								\
} while (0)

struct test {
	const char *name;
	void (*fn)(void);
};

/* @after returns what went wrong in a place where no check can be, or NULL. */
static inline int run_tests(const struct test *tests, size_t nr, void (*before)(void),
			    const char *(*after)(void))
{
	bool failed = false;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("TAP version 13\n1..%zu\n", nr);
	for (size_t i = 0; i < nr; i++) {
		const char *complaint;

		failure = NULL;
		before();
		alarm(60);
		tests[i].fn();
		complaint = after();
		if (!failure)
			failure = complaint;
		if (failure)
			printf("# %s\n", failure);
		printf("%sok %zu - %s\n", failure ? "not " : "", i + 1, tests[i].name);
		failed |= !!failure;
	}
	return failed;
}

#endif
