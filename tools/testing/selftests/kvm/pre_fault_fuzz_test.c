// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzer of KVM_PRE_FAULT_MEMORY: random calls on a VM whose memslots, vCPUs and
 * host memory change all the time. Each call is compared with the prediction of a
 * model of the ABI (pre_fault/fuzz/model.c).
 *
 * The seed determines everything but the times of signals.
 */
#define _GNU_SOURCE
#include <signal.h>

#include "pre_fault/fuzz/fuzz.h"

#define DEFAULT_CALLS	50000
#define CALLS_PER_VM	1500
#define CALLS_PER_ALARM	64
#define HANG_SECONDS	120
/* With fewer calls, some errno may never be returned. */
#define ENOUGH_CALLS	20000

/* Not async-signal-safe, but the program ends here. */
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
		fz_arch_vcpu_change();
}

static void help(const char *name)
{
	printf("usage: %s [-n CALLS] [-r SEED] [-h]\n"
	       " -n: number of calls (default %d)\n"
	       " -r: seed of all random numbers (default: from the clock)\n",
	       name, DEFAULT_CALLS);
}

/*
 * Fail if the process cannot access memory that is mapped according to the model. On
 * newer kernels, injecting poison raises SIGBUS, too.
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
	uint64_t nr_calls = DEFAULT_CALLS, seed = time(NULL);
	double start;
	int opt;

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
	fz_random_init(seed);
	fz_arch_facts_init();
	fz_host_init();
	fz_eagain_init();
	fz_call_init();
	/* Keep another VM, so that KVM does not patch code for each first and last VM. */
	__vm_vcpu_add(vm_create_barebones(), 0);
	fz_vm_init();

	signal(SIGALRM, on_alarm);
	sigaction(SIGBUS, &fault, NULL);
	sigaction(SIGSEGV, &fault, NULL);
	start = pf_now();
	for (fz_nr_call = 0; fz_nr_call < nr_calls; fz_nr_call++) {
		if (!(fz_nr_call % CALLS_PER_ALARM))
			alarm(HANG_SECONDS);
		if (fz_nr_call && !fz_below(CALLS_PER_VM))
			fz_vm_renew();
		if (fz_chance(35))
			change_something();
		if (!fz_below(500))
			fz_eagain_episode();
		fz_call_random(NULL, !fz_below(50));
	}

	fz_call_report();
	ksft_print_msg("%.0f calls/s\n", nr_calls / (pf_now() - start));
	ksft_test_result_pass("fuzz_calls\n");
	if (nr_calls < ENOUGH_CALLS)
		ksft_test_result_skip("fuzz_answers: less than %u calls\n",
				      ENOUGH_CALLS);
	else
		ksft_test_result(fz_call_all_seen(fz_eagain_possible()), "fuzz_answers\n");
	ksft_test_result(fz_call_exact_enough(), "fuzz_exact\n");
	ksft_finished();
}
