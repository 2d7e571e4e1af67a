// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linux as the guest: boot it to a prompt, save it there, and restore it to answer
 * one command, each time after another pre-fault.
 */
#include <err.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif

enum how { WARM_UP, NOTHING, ALL, WORKING_SET };

static const char * const how_names[] = {
	[NOTHING] = "-", [ALL] = "all", [WORKING_SET] = "working set",
};

struct row {
	const char *backing;
	enum how how;
	uint64_t faults;
	uint64_t populate;
	uint64_t pre_fault;
	uint64_t guest;
};

static const char *args[GUEST_OPTION_END - GUEST_OPTION_FIRST];

static const char * const defaults[ARRAY_SIZE(args)] = {
	[GUEST_APPEND - GUEST_OPTION_FIRST] = "console=ttyS0 quiet panic=-1",
	[GUEST_PROMPT - GUEST_OPTION_FIRST] = "guest# ",
	[GUEST_COMMAND - GUEST_OPTION_FIRST] = "",
	[GUEST_TIME_LIMIT - GUEST_OPTION_FIRST] = "300",
};

static const char *given(enum guest_option opt)
{
	return args[opt - GUEST_OPTION_FIRST] ?: defaults[opt - GUEST_OPTION_FIRST];
}

static bool is_set(enum guest_option opt)
{
	return args[opt - GUEST_OPTION_FIRST];
}

/**
 * guest_option - take an option for Linux as the guest
 * @opt: the option
 * @arg: its argument
 *
 * Return: true if @opt is such an option
 */
bool guest_option(int opt, const char *arg)
{
	if (opt < GUEST_OPTION_FIRST || opt >= GUEST_OPTION_END)
		return false;
	args[opt - GUEST_OPTION_FIRST] = arg;
	return true;
}

/* Return the time limit in seconds, or 0 if the argument is not a number. */
static unsigned int time_limit(void)
{
	const char *arg = given(GUEST_TIME_LIMIT);
	unsigned long seconds;
	char *end;

	errno = 0;
	seconds = strtoul(arg, &end, 10);
	if (errno || *end || *arg < '0' || *arg > '9' || seconds > INT_MAX)
		return 0;
	return seconds;
}

/**
 * guest_options_fit - check the combination of the options that guest_option() took
 *
 * Return: true if they fit, false after a message
 */
bool guest_options_fit(void)
{
	bool boots = is_set(GUEST_KERNEL);

	if (!boots && (is_set(GUEST_INITRD) || is_set(GUEST_APPEND) ||
		       is_set(GUEST_PROMPT) || is_set(GUEST_SAVE)))
		warnx("--initrd, --append, --prompt and --save need --kernel");
	else if (is_set(GUEST_COMMAND) && !is_set(GUEST_SAVE))
		warnx("--command needs --save");
	else if (is_set(GUEST_WORKING_SET) && !is_set(GUEST_RESTORE))
		warnx("--working-set needs --restore");
	else if (is_set(GUEST_TIME_LIMIT) && !guest_wanted())
		warnx("--time-limit needs --kernel or --restore");
	else if (!time_limit())
		warnx("--time-limit %s: not a positive number of seconds",
		      given(GUEST_TIME_LIMIT));
	else if (!*given(GUEST_PROMPT))
		warnx("--prompt: empty");
	else
		return true;
	return false;
}

/**
 * guest_wanted - see if the options ask for Linux as the guest
 *
 * Return: true if they do
 */
bool guest_wanted(void)
{
	return is_set(GUEST_KERNEL) || is_set(GUEST_RESTORE);
}

/** guest_usage - print the help for the options of guest_option() */
void guest_usage(void)
{
	printf("\n"
	       "Boot Linux instead, or restore it, without and after a pre-fault:\n"
	       "\n"
	       "  --kernel FILE       a bzImage\n"
	       "  --initrd FILE       its initramfs\n"
	       "  --append STRING     its command line (default \"%s\")\n"
	       "  --prompt STRING     the prompt that it prints after boot (default \"%s\")\n"
	       "  --save FILE         write a snapshot of the guest at its prompt\n"
	       "  --command STRING    type this command at the prompt, and save it with the\n"
	       "                      answer, which must be the same every time\n"
	       "                      (default: an empty line)\n"
	       "  --restore FILE      map a snapshot privately and resume it until it has\n"
	       "                      answered the command: to warm up, without a pre-fault,\n"
	       "                      after one of all memory, and after one of the working\n"
	       "                      set, the pages that the first run touched\n"
	       "  --working-set FILE  read the working set from this file; if the file does not\n"
	       "                      exist, write the working set to it\n"
	       "  --time-limit N      give up on a guest without a prompt after N seconds\n"
	       "                      (default %s)\n"
	       "\n"
	       "--kernel, --save and --restore may be given together. All these runs have one\n"
	       "vCPU.\n",
	       given(GUEST_APPEND), given(GUEST_PROMPT), given(GUEST_TIME_LIMIT));
}

static int mark(const struct counter *counter, uint64_t *value)
{
	if (!counter_read(counter, value))
		return 0;
	warn("cannot read the instruction counter");
	return -1;
}

static int populate(const struct memory *mem, uint64_t gpa, uint64_t size)
{
	if (!madvise(mem->hva + gpa, size, MADV_POPULATE_WRITE))
		return 0;
	warn("MADV_POPULATE_WRITE (Linux 5.14 or later is needed)");
	return -1;
}

static int pre_fault_ranges(struct machine *m, const struct wset *ws)
{
	for (unsigned int i = 0, next; i < ws->nr; i = next) {
		uint64_t gpa = ws->ranges[i].gpa, end = gpa;

		/* Join adjacent ranges, whether written or not, into one call. */
		for (next = i; next < ws->nr && ws->ranges[next].gpa == end;
		     next++)
			end += ws->ranges[next].size;
		if (vcpu_pre_fault(&m->vcpu, gpa, end - gpa))
			return -1;
	}
	return 0;
}

/*
 * Populate the memory that the guest writes to first: a pre-fault is a read, and maps
 * the zero page or the file's page where the guest is going to need a copy.
 */
static int measure_run(struct machine *m, const char *prompt,
		       const struct wset *ws, struct row *row)
{
	uint64_t t[4], before, after;
	struct counter counter;
	int ret = -1;

	if (counter_open(&counter)) {
		warn("cannot open the instruction counter");
		return -1;
	}
	if (stats_read(&m->vcpu.stats, "pf_taken", &before) ||
	    mark(&counter, &t[0]))
		goto out;
	for (unsigned int i = 0; i < ws->nr; i++) {
		if (ws->ranges[i].written &&
		    populate(m->mem, ws->ranges[i].gpa, ws->ranges[i].size))
			goto out;
	}
	if (mark(&counter, &t[1]) || pre_fault_ranges(m, ws) ||
	    mark(&counter, &t[2]) || machine_run(m, prompt) ||
	    mark(&counter, &t[3]) ||
	    stats_read(&m->vcpu.stats, "pf_taken", &after))
		goto out;
	row->faults = after - before;
	row->populate = t[1] - t[0];
	row->pre_fault = t[2] - t[1];
	row->guest = t[3] - t[2];
	ret = 0;
out:
	counter_close(&counter);
	return ret;
}

static void print_head(const char *what, const char *unit)
{
	printf("\n%s\n%-22s %9s %42s\n", what, "", "stage-2", unit);
	printf("%-8s %-13s %9s %9s %10s %10s %10s\n", "memory", "pre-fault",
	       "faults", "populate", "pre-fault", "guest", "sum");
}

static void print_row(const struct row *row)
{
	printf("%-8s %-13s %9llu %9.2f %10.2f %10.2f %10.2f\n", row->backing,
	       how_names[row->how], (unsigned long long)row->faults,
	       row->populate / 1e6, row->pre_fault / 1e6, row->guest / 1e6,
	       (row->populate + row->pre_fault + row->guest) / 1e6);
	fflush(stdout);
}

static void note_uncounted(const struct row *without)
{
	if (!without->faults)
		printf("* %s: KVM counted no faults\n", without->backing);
}

static bool useless(const struct row *with, const struct row *without)
{
	if (with->faults < without->faults)
		return false;
	printf("* %s: no fewer faults than without: pre-faulting did nothing\n",
	       with->backing);
	return true;
}

static void type_command(struct machine *m, const char *line)
{
	m->serial.len = 0;
	m->serial.out[0] = '\0';
	m->serial.in = line;
}

/* Take the end of the guest's output, which includes the command's echo. */
static void take_answer(const struct machine *m, char *answer)
{
	size_t len = m->serial.len;

	if (len >= TEXT_MAX)
		len = TEXT_MAX - 1;
	memcpy(answer, m->serial.out + m->serial.len - len, len);
	answer[len] = '\0';
}

/* Save the guest, and run it on to learn the answer that restored guests must give. */
static int save(struct machine *m, int kvm_fd, const char *path)
{
	struct snapshot *snap = calloc(1, sizeof(*snap));
	int ret = -1;

	if (!snap) {
		warn("calloc");
		return -1;
	}
	if ((size_t)snprintf(snap->prompt, sizeof(snap->prompt), "%s",
			     given(GUEST_PROMPT)) >= sizeof(snap->prompt) ||
	    (size_t)snprintf(snap->command, TEXT_MAX, "%s\n",
			     given(GUEST_COMMAND)) >= TEXT_MAX) {
		warnx("--prompt or --command: too long");
		goto out;
	}
	if (snapshot_take(snap, m, kvm_fd, path))
		goto out;
	type_command(m, snap->command);
	if (machine_run(m, snap->prompt))
		goto out;
	take_answer(m, snap->answer);
	ret = snapshot_write(snap, path);
out:
	free(snap);
	return ret;
}

static int boot_once(int kvm_fd, const struct options *opts,
		     const struct backing *backing, const char *save_to,
		     struct row *row)
{
	struct wset_range all = { .size = opts->memory, .written = true };
	struct wset ws = { .nr = row->how == ALL, .ranges = &all };
	struct memory mem = { .fresh = true };
	struct machine m;
	int ret = -1;

	row->backing = backing->name;
	progress_say(backing->name, row->how == ALL ? "boot after a pre-fault" :
						      "boot");
	if (memory_create(&mem, backing, opts->memory))
		return -1;
	if (machine_create(&m, kvm_fd, &mem, time_limit()))
		goto out_memory;
	if (boot_load(&m, given(GUEST_KERNEL), given(GUEST_INITRD),
		      given(GUEST_APPEND)) ||
	    measure_run(&m, given(GUEST_PROMPT), &ws, row))
		goto out_machine;
	ret = save_to ? save(&m, kvm_fd, save_to) : 0;
	if (!ret)
		print_row(row);
out_machine:
	machine_destroy(&m);
out_memory:
	memory_destroy(&mem);
	return ret;
}

static int restore(int kvm_fd, const struct snapshot *snap, struct wset *ws,
		   struct row *row)
{
	struct wset_range all = { .size = snap->memory };
	struct wset none = { 0 }, full = { .nr = 1, .ranges = &all };
	const struct wset *which[] = {
		[WARM_UP] = &none, [NOTHING] = &none, [ALL] = &full,
		[WORKING_SET] = ws,
	};
	const char *path = given(GUEST_RESTORE);
	struct memory mem = { 0 };
	struct machine m;
	char answer[TEXT_MAX];
	int ret = -1;

	row->backing = "file";
	progress_say("restore", row->how == WARM_UP ? "warming up" :
						      how_names[row->how]);
	if (snapshot_map(snap, path, &mem))
		return -1;
	if (machine_create(&m, kvm_fd, &mem, time_limit()))
		goto out_memory;
	if (snapshot_restore(snap, &m))
		goto out_machine;
	type_command(&m, snap->command);
	if (measure_run(&m, snap->prompt, which[row->how], row))
		goto out_machine;
	take_answer(&m, answer);
	if (strcmp(answer, snap->answer)) {
		warnx("%s: the guest now answers\n%s\nand not\n%s", path,
		      answer, snap->answer);
		goto out_machine;
	}
	ret = 0;
	if (row->how != WARM_UP)
		print_row(row);
	else if (!ws->nr)
		ret = wset_record(ws, &mem);
out_machine:
	machine_destroy(&m);
out_memory:
	memory_destroy(&mem);
	return ret;
}

static int boot_all(int kvm_fd, const struct options *opts,
		    const struct result *results, unsigned int nr,
		    const char *unit)
{
	const char *save_to = given(GUEST_SAVE);
	int ret = 0;

	if (boot_check(given(GUEST_KERNEL), given(GUEST_INITRD),
		       given(GUEST_APPEND), opts->memory))
		return -1;
	print_head("Linux, from the first KVM_RUN to its prompt", unit);
	for (unsigned int i = 0; i < nr; i++) {
		struct row without = { .how = NOTHING }, with = { .how = ALL };

		if (boot_once(kvm_fd, opts, results[i].backing, save_to,
			      &without)) {
			ret = -1;
			continue;
		}
		save_to = NULL;
		note_uncounted(&without);
		if (opts->pre_fault &&
		    (boot_once(kvm_fd, opts, results[i].backing, NULL, &with) ||
		     useless(&with, &without)))
			ret = -1;
	}
	return ret;
}

/*
 * Warm up first: the first run reads the file into the page cache and fills its holes,
 * a cost that must not be part of the comparison.
 */
static int restore_all(int kvm_fd, const struct options *opts, const char *unit)
{
	const char *ws_path = given(GUEST_WORKING_SET);
	struct snapshot *snap = malloc(sizeof(*snap));
	bool is_there = ws_path && !access(ws_path, F_OK);
	struct row rows[WORKING_SET + 1] = { 0 };
	enum how last = opts->pre_fault ? WORKING_SET : NOTHING;
	struct wset ws = { 0 };
	int ret = -1;

	if (!snap) {
		warn("malloc");
		return -1;
	}
	if (snapshot_read(snap, given(GUEST_RESTORE)) ||
	    (is_there && wset_read(&ws, ws_path, snap->memory)))
		goto out;
	print_head("Linux, restored, until it has answered a command", unit);
	ret = 0;
	for (enum how how = WARM_UP; how <= last && !ret; how++) {
		rows[how].how = how;
		ret = restore(kvm_fd, snap, &ws, &rows[how]);
		if (!ret && how > NOTHING &&
		    useless(&rows[how], &rows[NOTHING]))
			ret = -1;
		if (!ret && how == NOTHING)
			note_uncounted(&rows[how]);
	}
	if (!ret && ws_path && !is_there)
		ret = wset_write(&ws, ws_path);
out:
	wset_free(&ws);
	free(snap);
	return ret;
}

/**
 * guest_run - run the guests that the options of guest_option() ask for
 * @kvm_fd: /dev/kvm
 * @opts: the other options
 * @results: the types of memory to boot with
 * @nr: the number of @results
 *
 * Return: 0, or -1 after a message
 */
int guest_run(int kvm_fd, const struct options *opts,
	      const struct result *results, unsigned int nr)
{
	const char *unit = counter_unit_of_millions();
	int ret = 0;

	if (given(GUEST_KERNEL))
		ret = boot_all(kvm_fd, opts, results, nr, unit);
	if (!ret && given(GUEST_RESTORE))
		ret = restore_all(kvm_fd, opts, unit);
	return ret;
}
