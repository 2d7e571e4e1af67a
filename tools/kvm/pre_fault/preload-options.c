// SPDX-License-Identifier: GPL-2.0-only
/* Parse the options that kvm-pre-fault passes to its library in the environment. */
#include <stdlib.h>
#include <string.h>

#include "preload.h"

static int parse_number(const char *text, unsigned int max, unsigned int *value)
{
	unsigned long number;
	char *end;

	if (*text < '0' || *text > '9')
		return -1;
	number = strtoul(text, &end, 10);
	if (*end || number > max)
		return -1;
	*value = number;
	return 0;
}

static int parse_option(struct preload_options *to, const char *option)
{
	static const struct {
		const char *name;
		size_t offset;
	} flags[] = {
		{ "all", offsetof(struct preload_options, all) },
		{ "dry-run", offsetof(struct preload_options, dry_run) },
		{ "keep-mappings", offsetof(struct preload_options, keep) },
		{ "quiet", offsetof(struct preload_options, quiet) },
	};

	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
		if (!strcmp(option, flags[i].name)) {
			*(bool *)((char *)to + flags[i].offset) = true;
			return 0;
		}
	}
	if (!strncmp(option, "again=", 6))
		return parse_number(option + 6, MAX_AGAIN, &to->again);
	if (!strncmp(option, "settle=", 7))
		return parse_number(option + 7, 3600000, &to->settle);
	return -1;
}

/*
 * Parse "NAME,NAME=NUMBER,...,json=PATH". The path comes last, since it may have
 * commas. Modify @text, and leave a pointer into it in @to.
 */
int parse_options(struct preload_options *to, char *text)
{
	*to = (struct preload_options) {
		.again = DEFAULT_AGAIN,
		.settle = DEFAULT_SETTLE,
	};
	while (text && *text) {
		char *option = text;

		if (!strncmp(option, "json=", 5)) {
			to->json = option + 5;
			return *to->json ? 0 : -1;
		}
		text = strchr(option, ',');
		if (text)
			*text++ = '\0';
		if (parse_option(to, option))
			return -1;
	}
	return 0;
}
