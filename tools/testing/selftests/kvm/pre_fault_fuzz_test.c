// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzer of KVM_PRE_FAULT_MEMORY: random calls on a VM whose memslots, vCPUs and
 * host memory change all the time, each compared with what a model of the ABI
 * (pre_fault/fuzz_model.c) says of it.
 *
 * All that happens follows from the seed, but for when signals come.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdarg.h>

#include "pre_fault/fuzz/fuzz.h"

#define DEFAULT_CALLS	50000
#define CALLS_PER_VM	1500
#define CALLS_PER_ALARM	64
#define HANG_SECONDS	120
#define NOTES		60
#define NOTE_SIZE	200
/* Below this number of calls, some errno may not be among the answers. */
#define ENOUGH_CALLS	20000

static uint64_t seed, state, nr_call;
static char notes[NOTES][NOTE_SIZE];
static unsigned int nr_notes;

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

	n = snprintf(note, NOTE_SIZE, "%lu: ", nr_call);
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
	printf("# seed %lu, call %lu: ", seed, nr_call);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n# -r %lu -n %lu has it again\n", seed, nr_call + 1);
	ksft_test_result_fail("fuzz_calls\n");
	/* A thread may be asleep in the kernel: nothing to wait for. */
	fflush(stdout);
	_exit(KSFT_FAIL);
}

void fz_read_stats(int fd, const char *const names[], unsigned int nr,
		   uint64_t *values)
{
	/* Where a statistic is does not change from one VM or vCPU to the next. */
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

void pf_skip(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	printf("ok 1 # SKIP ");
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	exit(KSFT_SKIP);
}

/* Not by the book, but there is nothing left to be spoilt. */
static void on_alarm(int sig)
{
	fz_fail("it hangs");
}

static void change_something(void)
{
	unsigned int what = fz_below(100);

	if (what < 32)
		fz_slot_change();
	else if (what < 68)
		fz_host_change();
	else
		fz_vcpu_change();
}

static void help(const char *name)
{
	printf("usage: %s [-n CALLS] [-r SEED] [-h]\n"
	       " -n: number of calls (default %d)\n"
	       " -r: seed of all random numbers (default: from the clock)\n",
	       name, DEFAULT_CALLS);
}

/*
 * The process touched memory that the model says is there, or, on newer kernels,
 * injected poison.
 */
static void on_fault(int sig, siginfo_t *info, void *context)
{
	if (READ_ONCE(fz_host.injecting))
		return;

	FZ_ASSERT(false, "signal %d, code %d, at %p", sig, info->si_code,
		  info->si_addr);
}

int main(int argc, char *argv[])
{
	struct sigaction fault = {
		.sa_sigaction = on_fault,
		.sa_flags = SA_SIGINFO,
	};
	uint64_t nr_calls = DEFAULT_CALLS;
	double start;
	int opt;

	seed = time(NULL);
	while ((opt = getopt(argc, argv, "hn:r:")) != -1) {
		switch (opt) {
		case 'n':
			nr_calls = strtoull(optarg, NULL, 0);
			break;
		case 'r':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'h':
			help(argv[0]);
			return 0;
		default:
			help(argv[0]);
			return KSFT_FAIL;
		}
	}

	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	close(open_kvm_dev_path_or_exit());
	ksft_set_plan(3);
	if (!kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY)) {
		ksft_test_result_skip("fuzz_calls: no KVM_CAP_PRE_FAULT_MEMORY\n");
		ksft_test_result_skip("fuzz_answers: no KVM_CAP_PRE_FAULT_MEMORY\n");
		ksft_test_result_skip("fuzz_exact: no KVM_CAP_PRE_FAULT_MEMORY\n");
		ksft_finished();
	}

	ksft_print_msg("seed %lu, %lu calls\n", seed, nr_calls);
	state = seed;
	fz_facts_init();
	fz_host_init();
	fz_again_init();
	fz_call_init();
	/* Another VM to the end: KVM need not patch code for the first and last. */
	__vm_vcpu_add(vm_create_barebones(), 0);
	fz_vm_init();

	signal(SIGALRM, on_alarm);
	sigaction(SIGBUS, &fault, NULL);
	sigaction(SIGSEGV, &fault, NULL);
	start = pf_now();
	for (nr_call = 0; nr_call < nr_calls; nr_call++) {
		if (!(nr_call % CALLS_PER_ALARM))
			alarm(HANG_SECONDS);
		if (nr_call && !fz_below(CALLS_PER_VM))
			fz_vm_renew();
		if (fz_chance(35))
			change_something();
		if (!fz_below(500))
			fz_again_episode();
		fz_call_random(NULL, !fz_below(50));
	}

	fz_call_report();
	ksft_print_msg("%.0f calls/s\n", nr_calls / (pf_now() - start));
	ksft_test_result_pass("fuzz_calls\n");
	if (nr_calls < ENOUGH_CALLS)
		ksft_test_result_skip("fuzz_answers: less than %u calls\n",
				      ENOUGH_CALLS);
	else
		ksft_test_result(fz_call_all_seen(), "fuzz_answers\n");
	ksft_test_result(fz_call_exact_enough(), "fuzz_exact\n");
	ksft_finished();
}
