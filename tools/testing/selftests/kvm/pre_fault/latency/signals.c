// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY over 1 TiB ends on a signal, and lets other threads run.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/wait.h>

#include "latency.h"

#define KILL_SECONDS	0.100
/* With more mappings, the exit takes longer, see sigkill_teardown. */
#define KILL_LEAVES	65536
#define SIGNAL_SECONDS	0.002
#define DELAY_SECONDS	0.002
/* Two ticks, as the exit waits for RCU */
#define SLACK_SECONDS	0.008
#define NR_SIGNALS	20

static const char * const call_events[] = {
	"kvm/kvm_pre_fault_memory", NULL,
};

/* Shared with the process to be killed */
static bool *ready;

static void share_ready(void)
{
	ready = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(ready != MAP_FAILED, "mmap()");
}

static void wait_ready(pid_t pid)
{
	while (!READ_ONCE(*ready)) {
		TEST_ASSERT(!waitpid(pid, NULL, WNOHANG),
			    "the process to be killed failed");
		usleep(100);
	}
	*ready = false;
}

/* Kill the process. Return the seconds to its end, and in @left to that of the call. */
static double time_kill(pid_t pid, double *left)
{
	double start, end;
	char *text, *event;
	int status;

	if (left)
		pf_trace_start(call_events, pid);
	start = pf_now();
	kill(pid, SIGKILL);
	status = pf_wait(pid);
	TEST_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
		    "the process ended with status %#x", status);
	end = pf_now();
	if (!left)
		return end - start;

	text = pf_trace_stop();
	event = strstr(text, "kvm_pre_fault_memory:");
	*left = event ? big_trace_time(text, event) - start : -1;
	free(text);
	return end - start;
}

/* Fork a process that pre-faults, or with @idle could do so. */
static pid_t start_pre_fault(enum pf_memory memory, bool idle)
{
	struct kvm_pre_fault_memory range = { .size = BIG_SIZE };
	struct kvm_vcpu *vcpu;
	pid_t pid;

	pid = pf_fork();
	if (!pid) {
		big_vm(memory, 0, BIG_SIZE, 1, &vcpu);
		WRITE_ONCE(*ready, true);
		while (idle)
			pause();
		pf_call(vcpu, &range);
		TEST_FAIL("the call was over before it was killed");
	}
	wait_ready(pid);
	return pid;
}

static void check_kill(enum pf_memory memory)
{
	static const unsigned int after_ms[] = { 0, 1, 10, 50 };
	double seconds, left;
	long leaves;
	unsigned int i;
	pid_t pid;

	share_ready();
	/* Create the file here, so that the exit of the child does not free it. */
	munmap(pf_mem(memory, PAGE_SIZE, 1), PAGE_SIZE);
	pid = start_pre_fault(memory, true);
	printf("%s, no call: gone after %.3f ms\n", pf_memory_types[memory].name,
	       time_kill(pid, NULL) * 1e3);

	for (i = 0; i < ARRAY_SIZE(after_ms); i++) {
		/* Trace one process and time another: tracing adds waits for RCU. */
		pid = start_pre_fault(memory, false);
		usleep(after_ms[i] * 1000);
		time_kill(pid, &left);
		TEST_ASSERT(left >= 0, "the call is not in the trace");
		TEST_ASSERT(left <= SIGNAL_SECONDS * pf_slowness,
			    "the call took %.3f ms to end", left * 1e3);

		pid = start_pre_fault(memory, false);
		usleep(after_ms[i] * 1000);
		leaves = big_leaves();
		seconds = time_kill(pid, NULL);
		printf("%s, %u ms, %ld mapped: left the call after %.3f ms, gone after %.3f ms\n",
		       pf_memory_types[memory].name, after_ms[i], leaves, left * 1e3,
		       seconds * 1e3);
		TEST_ASSERT(leaves > KILL_LEAVES ||
			    seconds <= KILL_SECONDS * pf_slowness,
			    "the process took %.3f ms to end", seconds * 1e3);
	}
}

static void sigkill_small_file(void)
{
	check_kill(PF_SMALL_FILE);
}

static void sigkill_untouched(void)
{
	check_kill(PF_ANON_NEW);
}

static void sigkill_untouched_thp(void)
{
	check_kill(PF_THP_NEW);
}

/* The origin of the stage-2 mappings that the end of the process removes */
enum mapped_by { NOBODY, GUEST, PRE_FAULT };

static double time_teardown(enum pf_memory memory, size_t size,
			    enum mapped_by by)
{
	struct kvm_vcpu *vcpu;
	void *mem;
	pid_t pid;

	pid = pf_fork();
	if (!pid) {
		vcpu = pf_guest_vcpu();
		mem = pf_mem(memory, size, 1);
		madvise(mem, size, MADV_POPULATE_READ);
		vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA,
					  size, mem);
		if (by == GUEST)
			pf_guest(vcpu, PF_TOUCH, TEST_GPA, size / PAGE_SIZE, 0);
		else if (by == PRE_FAULT)
			pf_map(vcpu, TEST_GPA, size);
		WRITE_ONCE(*ready, true);
		for (;;)
			pause();
	}
	wait_ready(pid);
	return time_kill(pid, NULL);
}

/*
 * With any KVM, a process takes longer to exit the more pages are mapped. Check that
 * removing pre-faulted mappings takes no longer than removing those of the guest's own
 * faults.
 */
static void sigkill_teardown(void)
{
	const size_t size = 256ul << 20;
	double t[3];
	int i, by;

	share_ready();
	for (i = 0; i < NR_BIG_MEMORY; i++) {
		munmap(pf_mem(big_memory[i].memory, PAGE_SIZE, 1), PAGE_SIZE);
		for (by = NOBODY; by <= PRE_FAULT; by++)
			t[by] = time_teardown(big_memory[i].memory, size, by);
		printf("%s, 256M: pre-fault %.3f ms, guest %.3f ms, host alone %.3f ms\n",
		       big_name(i), t[PRE_FAULT] * 1e3, t[GUEST] * 1e3,
		       t[NOBODY] * 1e3);
		TEST_ASSERT(t[PRE_FAULT] <= t[GUEST] * 1.1 + SLACK_SECONDS,
			    "the end of the process takes longer after a pre-fault");
	}
}

static void signal_ends_call(void)
{
	struct pf_loop loop = {
		.size = BIG_SIZE,
		.errs = { EINTR, EAGAIN },
		.resume = true,
	};
	double start, worst;
	int i, n;

	for (i = 0; i < NR_BIG_MEMORY; i++) {
		big_vm(big_memory[i].memory, 0, BIG_SIZE, 1, &loop.vcpu);
		worst = 0;
		for (n = 0; n < NR_SIGNALS; n++) {
			pf_loop_start(&loop);
			usleep(n * 250);
			start = pf_now();
			pf_loop_stop(&loop);
			worst = max(worst, loop.ended - start);
		}
		printf("%s: the call returns %.3f ms after the signal at most\n",
		       big_name(i), worst * 1e3);
		kvm_vm_free(loop.vcpu->vm);
		TEST_ASSERT(worst <= SIGNAL_SECONDS * pf_slowness,
			    "the call took %.3f ms to return", worst * 1e3);
	}
}

struct clock_watch {
	int cpu;
	bool stop;
	unsigned int nr;
	double worst;
};

/*
 * Measure the delay of a CPU's most urgent thread at each wake-up. On a preemptible
 * kernel, the delay is bounded by the hold time of spinning locks.
 */
static void *watch_fn(void *arg)
{
	struct clock_watch *watch = arg;
	unsigned int n, delay;
	double want;

	pf_pin(watch->cpu);
	big_urgent();
	for (n = 0; !READ_ONCE(watch->stop); n++) {
		delay = 100 + n * 37 % 100;
		want = pf_now() + delay / 1e6;
		usleep(delay);
		watch->worst = max(watch->worst, pf_now() - want);
	}
	watch->nr = n;
	return NULL;
}

static double watch_cpus(unsigned int ms, unsigned int *nr)
{
	int cpus = pf_nr_cpus(), i;
	struct clock_watch watches[cpus];
	pthread_t threads[cpus];
	double worst = 0;

	*nr = 0;
	for (i = 0; i < cpus; i++) {
		watches[i] = (struct clock_watch){ .cpu = i };
		threads[i] = pf_thread(watch_fn, &watches[i]);
	}
	usleep(ms * 1000);
	for (i = 0; i < cpus; i++) {
		WRITE_ONCE(watches[i].stop, true);
		pf_join(threads[i]);
		worst = max(worst, watches[i].worst);
		*nr += watches[i].nr;
	}
	return worst;
}

/* Pre-fault from all vCPUs. The kernel reports lockups on the console. */
static void no_lockup_by_four_threads(void)
{
	struct kvm_vcpu *vcpus[MAX_TEST_VCPUS];
	struct pf_loop loops[MAX_TEST_VCPUS];
	double idle, worst;
	unsigned int nr;
	int i, v;

	idle = watch_cpus(50, &nr);
	for (i = 0; i < NR_BIG_MEMORY; i++) {
		big_vm(big_memory[i].memory, 0, BIG_SIZE, MAX_TEST_VCPUS, vcpus);
		for (v = 0; v < MAX_TEST_VCPUS; v++) {
			loops[v] = (struct pf_loop) {
				.vcpu = vcpus[v],
				.size = BIG_SIZE,
				.errs = { EINTR, EAGAIN },
				.resume = true,
				.pinned = true,
				.cpu = v % pf_nr_cpus(),
			};
			pf_loop_start(&loops[v]);
		}
		worst = watch_cpus(big_memory[i].ms, &nr);
		printf("%s, %ld mapped: of %u wake-ups the latest %.3f ms, idle %.3f ms\n",
		       big_name(i), big_leaves(), nr, worst * 1e3, idle * 1e3);
		for (v = 0; v < MAX_TEST_VCPUS; v++)
			pf_loop_stop(&loops[v]);
		kvm_vm_free(vcpus[0]->vm);
		TEST_ASSERT(worst <= DELAY_SECONDS * pf_slowness,
			    "a thread had to wait %.3f ms for its CPU",
			    worst * 1e3);
	}
}

const struct pf_test pf_latency_signal_tests[] = {
	PF_TEST(signal_ends_call),
	PF_TEST(sigkill_small_file),
	PF_TEST(sigkill_untouched),
	PF_TEST(sigkill_untouched_thp),
	PF_TEST(sigkill_teardown),
	PF_TEST(no_lockup_by_four_threads),
	{ }
};
