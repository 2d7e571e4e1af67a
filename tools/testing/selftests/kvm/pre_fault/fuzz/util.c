// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fuzzer's random numbers, notes of its actions, and statistics.
 */
#define _GNU_SOURCE
#include <stdarg.h>

#include "fuzz.h"

#define NOTES		60
#define NOTE_SIZE	200

uint64_t fz_seed, fz_nr_call;

static uint64_t state;
static char notes[NOTES][NOTE_SIZE];
static unsigned int nr_notes;

void fz_random_init(uint64_t seed)
{
	fz_seed = seed;
	state = seed;
}

/* splitmix64 */
uint64_t fz_random(void)
{
	uint64_t z = (state += 0x9e3779b97f4a7c15ul);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ul;
	z = (z ^ z >> 27) * 0x94d049bb133111ebul;
	return z ^ z >> 31;
}

uint64_t fz_below(uint64_t n)
{
	return fz_random() % n;
}

void fz_note(const char *fmt, ...)
{
	char *note = notes[nr_notes++ % NOTES];
	va_list args;
	int n;

	n = snprintf(note, NOTE_SIZE, "%lu: ", fz_nr_call);
	va_start(args, fmt);
	vsnprintf(note + n, NOTE_SIZE - n, fmt, args);
	va_end(args);
}

void fz_fail(const char *fmt, ...)
{
	unsigned int i = nr_notes > NOTES ? nr_notes - NOTES : 0;
	va_list args;

	for (; i < nr_notes; i++)
		ksft_print_msg("%s\n", notes[i % NOTES]);
	printf("# seed %lu, call %lu: ", fz_seed, fz_nr_call);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n# -r %lu -n %lu reproduces this\n", fz_seed, fz_nr_call + 1);
	ksft_test_result_fail("fuzz_calls\n");
	/* Do not wait for threads, which may sleep in the kernel. */
	fflush(stdout);
	_exit(KSFT_FAIL);
}

void fz_read_stats(int fd, const char *const names[], unsigned int nr,
		   uint64_t *values)
{
	/* The offset of a statistic is the same for all VMs and vCPUs: cache it. */
	static struct {
		const char *name;
		off_t offset;
	} cache[8];
	struct kvm_stats_header header;
	struct kvm_stats_desc *descs, *desc;
	unsigned int i, j, k;

	for (i = 0; i < nr; i++) {
		for (k = 0; cache[k].name && strcmp(cache[k].name, names[i]); k++)
			;
		if (!cache[k].name) {
			/* Such a file can't be rewound. */
			FZ_ASSERT(pread(fd, &header, sizeof(header), 0) ==
				  sizeof(header), "header of the statistics");
			descs = read_stats_descriptors(fd, &header);
			for (j = 0; j < header.num_desc; j++) {
				desc = get_stats_descriptor(descs, j, &header);
				if (strcmp(desc->name, names[i]))
					continue;
				cache[k].name = names[i];
				cache[k].offset = header.data_offset + desc->offset;
			}
			free(descs);
			FZ_ASSERT(cache[k].name, "no statistic %s", names[i]);
		}
		FZ_ASSERT(pread(fd, &values[i], sizeof(*values), cache[k].offset) ==
			  sizeof(*values), "statistic %s", names[i]);
	}
}
