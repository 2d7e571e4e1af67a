// SPDX-License-Identifier: GPL-2.0-only
/*
 * One line on stderr that the next output, including error messages, overwrites.
 * Print nothing if stderr is not a terminal.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pre_fault.h"

#define BAR_WIDTH	32
#define LINE_WIDTH	70

static bool on_terminal(void)
{
	static int known = -1;

	if (known < 0)
		known = isatty(STDERR_FILENO);
	return known;
}

static void draw(const char *name, const char *what)
{
	if (on_terminal())
		fprintf(stderr, "\r%-8s %-*s\r", name, LINE_WIDTH - 9, what);
}

void progress_say(const char *name, const char *what)
{
	draw(name, what);
}

void progress_bar(const char *name, uint64_t done, uint64_t total)
{
	int filled = done * BAR_WIDTH / total;
	char bar[BAR_WIDTH + 1], line[80];

	memset(bar, ' ', BAR_WIDTH);
	memset(bar, '#', filled);
	bar[BAR_WIDTH] = '\0';
	snprintf(line, sizeof(line), "pre-faulting [%s] %3d%%", bar,
		 (int)(done * 100 / total));
	draw(name, line);
}

void progress_end(void)
{
	if (on_terminal())
		fputc('\n', stderr);
}
