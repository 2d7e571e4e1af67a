// SPDX-License-Identifier: GPL-2.0-only
/* Linux as the guest is for x86 only, see guest.c: refuse its options. */
#include <err.h>

#include "pre_fault.h"

bool guest_option(int opt, const char *arg)
{
	(void)arg;
	if (opt >= GUEST_OPTION_FIRST && opt < GUEST_OPTION_END)
		warnx("Linux as the guest is for x86 only");
	return false;
}

bool guest_options_fit(void)
{
	return true;
}

bool guest_wanted(void)
{
	return false;
}

void guest_usage(void)
{
}

int guest_run(int kvm_fd, const struct options *opts,
	      const struct result *results, unsigned int nr)
{
	(void)kvm_fd;
	(void)opts;
	(void)results;
	(void)nr;
	return -1;
}
