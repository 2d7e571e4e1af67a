// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Copyright (C) 2026 The KVM_PRE_FAULT_MEMORY maintainers
 *
 * Run unit tests, and print TAP.
 */
#include <stdbool.h>
#include <unistd.h>

#include "test.h"

const char *failure;
char message[200];

int run_tests(const struct test *tests, size_t nr, void (*before)(void),
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
