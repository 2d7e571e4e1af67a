/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Copyright (C) 2026 The KVM_PRE_FAULT_MEMORY maintainers
 *
 * Unit tests: checks, of which the first that fails is reported, and a loop that runs
 * the tests and prints TAP.
 */
#ifndef TEST_H
#define TEST_H

#include <stddef.h>
#include <stdio.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* The first failure of the current test, or NULL */
extern const char *failure;
extern char message[200];

#define CHECK(condition)						\
do {									\
	if (!(condition) && !failure) {					\
		snprintf(message, sizeof(message), "%s:%d: %s",		\
			 __FILE__, __LINE__, #condition);		\
		failure = message;					\
	}								\
} while (0)

#define CHECK_EQUAL(is, should)						\
do {									\
	long long _is = (is), _should = (should);			\
									\
	if (_is != _should && !failure) {				\
		snprintf(message, sizeof(message), "%s:%d: %s is %#llx, not %#llx", \
			 __FILE__, __LINE__, #is, _is, _should);	\
		failure = message;					\
	}								\
} while (0)

struct test {
	const char *name;
	void (*fn)(void);
};

/*
 * Run each test between @before and @after. @after returns a failure that was found outside
 * of the test's function, or NULL. Return 1 if a test failed, else 0.
 */
int run_tests(const struct test *tests, size_t nr, void (*before)(void),
	      const char *(*after)(void));

#endif
