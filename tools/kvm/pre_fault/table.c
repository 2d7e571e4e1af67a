// SPDX-License-Identifier: GPL-2.0-only
/* Print the results. */
#include <stdio.h>
#include <string.h>

#include "pre_fault.h"

/*
 * A few faults can remain: a page may be migrated or a huge page split at any
 * time. If there are as many as without a pre-fault, it mapped nothing. Do not count
 * the lockless faults of a CPU that cannot set an Accessed bit.
 */
bool pre_fault_was_useless(const struct result *res)
{
	return res->with.faults - res->with.fast_faults >= res->without.faults;
}

void format_size(char *buf, size_t len, uint64_t size)
{
	unsigned int unit = 0;

	while (unit < 3 && size && !(size % 1024)) {
		size /= 1024;
		unit++;
	}
	snprintf(buf, len, "%llu%.1s", (unsigned long long)size,
		 &"\0KMG"[unit]);
}

/* If KVM does not count pages, compute the size from the memory per exit. */
static const char *mapped_by_guest(const struct pass *pass, uint64_t memory)
{
	uint64_t each = memory / (pass->faults ?: 1);

	if (each < 2 * SZ_4K)
		return "4K";
	if (each < SZ_2M / 2)
		return "2M+4K";
	return each < SZ_1G / 2 ? "2M" : "1G";
}

static const char *mapped_as(const struct result *res, const struct pass *pass,
			     uint64_t memory)
{
	if (!arch.counts_pages)
		return mapped_by_guest(&res->without, memory);
	if (pass->pages_1g)
		return "1G";
	if (!pass->pages_2m)
		return "4K";
	/* The guest's code is always a 4K page or two. */
	return pass->pages_2m >= memory / SZ_2M ? "2M" : "2M+4K";
}

static void print_row(const struct result *res, const struct options *opts)
{
	double pages = opts->memory / SZ_4K;
	double without = res->without.guest_cost / pages;
	double pre_fault = res->with.pre_fault_cost / pages;
	double guest = res->with.guest_cost / pages;

	if (res->failed) {
		printf("%-8s failed, see above\n", res->backing->name);
		return;
	}

	printf("%-8s", res->backing->name);
	if (!opts->pre_fault) {
		printf("%6s %9llu %8s %10.1f %10s %9s %9s %6s\n",
		       mapped_as(res, &res->without, opts->memory),
		       (unsigned long long)res->without.faults, "-", without,
		       "-", "-", "-", "-");
		return;
	}
	printf("%6s %9llu %7llu%c %10.1f %10.1f %9.1f %9.1f %6.2f\n",
	       mapped_as(res, &res->with, opts->memory),
	       (unsigned long long)res->without.faults,
	       (unsigned long long)res->with.faults,
	       res->with.faults ? '*' : ' ', without, pre_fault, guest,
	       pre_fault + guest, (pre_fault + guest) / without);
}

static void print_notes(const struct result *res, const struct options *opts)
{
	const char *name = res->backing->name;

	if (res->failed)
		return;

	if (!res->without.faults)
		printf("* %s: KVM counted no %s\n", name, arch.unit);
	if (opts->pre_fault && res->with.faults) {
		printf("* %s: %llu %s were left", name,
		       (unsigned long long)res->with.faults, arch.unit);
		if (res->with.fast_faults)
			printf(", %llu of them lockless (no Accessed bit in stage 2)",
			       (unsigned long long)res->with.fast_faults);
		printf("\n");
	}
	if (opts->pre_fault && pre_fault_was_useless(res))
		printf("* %s: no fewer %s than without: pre-faulting did nothing\n",
		       name, arch.unit);
	if (res->backing->private_file && res->copied >= 0)
		printf("%s: %ld of the mapping's %llu pages copied on write\n",
		       name, res->copied,
		       (unsigned long long)(opts->memory / SZ_4K));
}

void table_print(const struct result *results, unsigned int nr,
		 const struct options *opts)
{
	char unit[64];

	snprintf(unit, sizeof(unit), "%s per 4K page", counter_unit());
	printf("\n%-8s%6s %18s %41s\n", "", "", arch.heading, unit);
	printf("%-8s%6s %9s %7s  %10s %10s %9s %9s %6s\n", "", "mapped",
	       "guest", "guest", "guest", "pre-fault", "guest", "", "(b+c)");
	printf("%-8s%6s %9s %7s  %10s %10s %9s %9s %6s\n", "backing", "as",
	       "without", "after", "without(a)", "(b)", "after(c)", "b+c",
	       "/a");
	for (unsigned int i = 0; i < nr; i++)
		print_row(&results[i], opts);
	printf("\n");
	for (unsigned int i = 0; i < nr; i++)
		print_notes(&results[i], opts);
}
