// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stress test of KVM_PRE_FAULT_MEMORY: vCPUs pre-fault overlapping ranges and
 * run a guest that reads and writes, while other threads change the memslots
 * and the host memory in many ways. Each page carries the version of its
 * contents, so that each value read can be checked by itself.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

#include "pre_fault/stress/stress.h"

#define DEFAULT_SECONDS		60
#define DEFAULT_VCPUS		3
#define DEFAULT_WATCHDOG	30
#define DEFAULT_REPEAT		16
/* Extra time for operations that have not happened yet */
#define SECONDS_MORE		30
#define SECONDS_QUIET		20
#define MAIN_TAG		0x51

struct stress stress = {
	.seconds = DEFAULT_SECONDS,
	.nr_vcpus = DEFAULT_VCPUS,
	.npages = MAX_PAGES,
	.watchdog = DEFAULT_WATCHDOG,
	.repeat = DEFAULT_REPEAT,
	.tag = MAIN_TAG,
};

const enum pf_memory stress_types[NR_TYPES] = {
	[TYPE_ANON]	= PF_ANON,
	[TYPE_THP]	= PF_THP,
	[TYPE_MEMFD]	= PF_MEMFD,
	[TYPE_FILE]	= PF_FILE,
};

const char * const op_names[NR_ALL_OPS] = {
	[OP_WRITE]	= "write",
	[OP_DONTNEED]	= "dontneed",
	[OP_REMOVE]	= "remove",
	[OP_FREE]	= "free",
	[OP_PROTECT]	= "mprotect",
	[OP_MREMAP]	= "mremap",
	[OP_RENEW]	= "mmap",
	[OP_ZERO]	= "zero",
	[OP_GUARD]	= "guard",
	[OP_FORK]	= "fork",
	[OP_COLLAPSE]	= "collapse",
	[OP_PAGEOUT]	= "pageout",
	[OP_COLD]	= "cold",
	[OP_POPULATE]	= "populate-write",
	[OP_KSM]	= "ksm",
	[OP_SOFT_DIRTY]	= "soft-dirty",
	[OP_OFFLINE]	= "soft-offline",
	[OP_MOVE_PAGES]	= "move-pages",
	[OP_COMPACT]	= "compact",
	[OP_IDLE]	= "idle",
	[OP_UFFD_WP]	= "uffd-wp",
	[OP_DELETE]	= "delete",
	[OP_SWITCH]	= "switch",
	[OP_MOVE]	= "move",
	[OP_READONLY]	= "readonly",
	[OP_DIRTY]	= "dirty",
	[OP_DIRTY_LOG]	= "dirty-log",
	[OP_NX]		= "nx",
	[OP_SIGNAL]	= "signal",
	[OP_KILL]	= "kill",
	[OP_CLOSE]	= "close",
	[OP_PREFAULT]	= "pre-fault",
	[OP_GUEST_READ]	= "guest-read",
	[OP_GUEST_WRITE] = "guest-write",
};

static const char * const verdict_names[NR_VERDICTS] = {
	[V_PAGES]	= "pages_are_current",
	[V_DIRTY]	= "dirty_log_is_complete",
	[V_CALLS]	= "errors_have_a_reason",
	[V_VCPUS]	= "vcpus_keep_their_state",
	[V_STUCK]	= "all_make_progress",
	[V_OPS]		= "everything_happened",
};

static void print_history(const char *what, const struct history *h)
{
	unsigned int i = h->nr > NR_HISTORY ? h->nr - NR_HISTORY : 0;

	for (; i < h->nr; i++) {
		const struct event *e = &h->events[i % NR_HISTORY];

		ksft_print_msg("%s, %.4f s: %s, version %u, by thread %u (%s)\n",
			       what, e->when, op_names[e->op], e->version,
			       e->worker, stress.workers[e->worker].name);
	}
}

static void print_page(const struct area *area, unsigned int page)
{
	unsigned int i;

	ksft_print_msg("%s page %u at gpa %#lx, it is %.4f s now\n",
		       type_name(area->type), page,
		       (uint64_t)(area->gpa + page * PAGE_SIZE),
		       pf_now() - stress.start);
	ksft_print_msg("slot: buffer %u, flags %#x, change %u\n", area->cur,
		       area->flags, area->seq);
	for (i = 0; i < NR_BUFS; i++) {
		const struct page *p = &area->bufs[i].pages[page];

		ksft_print_msg("buffer %u: versions %u to %u, the last without contents %u\n",
			       i, p->floor, p->newest, p->blank);
		print_history(i ? "buffer 1" : "buffer 0", &p->history);
	}
	print_history("slot", &area->history);
}

/* Report only the first failure in full: others may follow from it. */
void stress_fail(enum verdict v, const struct area *area, unsigned int page,
		 const char *fmt, ...)
{
	static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	static bool told;
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);

	pthread_mutex_lock(&mutex);
	if (!told) {
		ksft_print_msg("%s: %s\n", verdict_names[v], text);
		if (area)
			print_page(area, page);
		ksft_print_msg("-r %lu makes the same decisions again%s\n",
			       stress.seed, stress.child ?
			       "; this is a VM that was to be killed" : "");
	}
	told = true;
	stress.shared->failed[v] = true;
	pthread_mutex_unlock(&mutex);
	WRITE_ONCE(stress.shared->stop, true);
}

static bool any_failed(void)
{
	unsigned int i;

	for (i = 0; i < NR_VERDICTS; i++)
		if (READ_ONCE(stress.shared->failed[i]))
			return true;
	return false;
}

/* Fail if a thread makes no progress any more. */
static void watch(void)
{
	static unsigned long progress[MAX_WORKERS];
	static double since[MAX_WORKERS];
	double now = pf_now(), limit = stress.watchdog * pf_slowness;
	unsigned int i;

	for (i = 0; i < stress.nr_workers; i++) {
		struct worker *w = &stress.workers[i];
		unsigned long n = READ_ONCE(w->progress);

		if (!since[i] || progress[i] != n || READ_ONCE(w->done)) {
			progress[i] = n;
			since[i] = now;
			continue;
		}
		if (now - since[i] < limit)
			continue;
		/* If KVM_RUN returns, the vCPU's thread prints its registers. */
		if (w->vcpu && !w->dump) {
			WRITE_ONCE(w->dump, true);
			pthread_kill(w->thread, SIGUSR1);
			usleep(500000);
		}
		stress_fail(V_STUCK, NULL, 0,
			    "thread %u (%s) has made no progress for %.0f s",
			    i, w->name, now - since[i]);
	}
}

static void wait_for_all(void)
{
	double end = pf_now() + (double)stress.watchdog * pf_slowness;
	unsigned int i;

	for (i = 0; i < stress.nr_workers; i++) {
		while (!READ_ONCE(stress.workers[i].done) && !any_failed() &&
		       pf_now() < end)
			usleep(1000);
		/* A failed thread may keep a page locked that others wait for. */
		if (!READ_ONCE(stress.workers[i].done) && !any_failed())
			stress_fail(V_STUCK, NULL, 0, "thread %u (%s) does not end",
				    i, stress.workers[i].name);
	}
}

static void wait_for_killer(pid_t pid)
{
	double end = pf_now() + (double)stress.watchdog * pf_slowness;

	while (!waitpid(pid, NULL, WNOHANG)) {
		if (pf_now() > end) {
			stress_fail(V_STUCK, NULL, 0,
				    "a VM that was killed does not end");
			return;
		}
		usleep(1000);
	}
}

static void print_counts(void)
{
	struct shared *s = stress.shared;
	unsigned int i;

	ksft_print_msg("%lu guest loops, %lu pages pre-faulted, %lu MMIO exits\n",
		       s->guest_loops, s->pages_pre_faulted, s->mmio);
	for (i = 0; i < NR_ALL_OPS; i++)
		if (s->missing[i])
			ksft_print_msg("%s: left out, %s\n", op_names[i],
				       s->missing[i]);
		else
			ksft_print_msg("%s: %lu\n", op_names[i], s->done[i]);
	for (i = 0; i < ARRAY_SIZE(s->errors); i++)
		if (s->errors[i])
			ksft_print_msg("%s: %lu calls\n", i ? strerror(i) :
				       "pre-faults that did something",
				       s->errors[i]);
}

static const char *never_happened(void)
{
	unsigned int i;

	for (i = 0; i < NR_ALL_OPS; i++)
		if (stress.enabled[i] && !stress.shared->missing[i] &&
		    !READ_ONCE(stress.shared->done[i]))
			return op_names[i];
	return NULL;
}

static const char *op_name(unsigned int i)
{
	return op_names[i];
}

static bool parse_list(char *list, const char *(*name_of)(unsigned int i),
		       unsigned int nr, bool *flags, bool value)
{
	char *name;
	unsigned int i;

	for (name = strtok(list, ","); name; name = strtok(NULL, ",")) {
		for (i = 0; i < nr; i++)
			if (!strcmp(name, name_of(i)))
				break;
		if (i == nr)
			return false;
		flags[i] = value;
	}

	return true;
}

static void help(const char *name)
{
	unsigned int i;

	printf("usage: %s [-t SECONDS] [-r SEED] [-v VCPUS] [-s FACTOR] [-d LIST]\n"
	       "       [-x LIST] [-b LIST] [-p PAGES] [-w SECONDS] [-l LOOPS] [-n]\n"
	       "       [-h]\n"
	       " -t: run for so long (default %u)\n"
	       " -r: seed (default: from the clock). Each thread makes the same\n"
	       "     decisions again; how the threads meet is left to the scheduler\n"
	       " -v: vCPUs, up to %u (default %u)\n"
	       " -s: allow FACTOR times as long for everything (slow machine)\n"
	       " -d: disturb in these ways only; -d none: not at all\n"
	       " -x: don't disturb in these ways\n"
	       " -b: types of host memory (default: all)\n"
	       " -p: pages in each memslot, up to %u (default %u)\n"
	       " -w: no progress for so long is a failure (default %u)\n"
	       " -l: the guest loops up to so many times over its pages (default %u)\n"
	       " -n: no pre-faults, as a control\n"
	       "ways to disturb:", name, DEFAULT_SECONDS, MAX_VCPUS,
	       DEFAULT_VCPUS, MAX_PAGES, MAX_PAGES, DEFAULT_WATCHDOG,
	       DEFAULT_REPEAT);
	for (i = 0; i < NR_OPS; i++)
		printf("%s %s", i % 8 ? "" : "\n  ", op_names[i]);
	printf("\ntypes of memory:");
	for (i = 0; i < NR_TYPES; i++)
		printf(" %s", type_name(i));
	puts("");
	exit(KSFT_FAIL);
}

static void parse(int argc, char *argv[])
{
	bool ok = true;
	int opt;

	stress.seed = time(NULL);
	memset(stress.enabled, true, sizeof(stress.enabled));
	memset(stress.types, true, sizeof(stress.types));

	while (ok && (opt = getopt(argc, argv, "b:d:hl:np:r:s:t:v:w:x:")) != -1) {
		switch (opt) {
		case 'b':
			memset(stress.types, false, sizeof(stress.types));
			ok = parse_list(optarg, type_name, NR_TYPES,
					stress.types, true);
			break;
		case 'd':
			memset(stress.enabled, false, NR_OPS * sizeof(bool));
			if (strcmp(optarg, "none"))
				ok = parse_list(optarg, op_name, NR_OPS,
						stress.enabled, true);
			break;
		case 'l':
			stress.repeat = atoi(optarg);
			break;
		case 'n':
			stress.enabled[OP_PREFAULT] = false;
			break;
		case 'p':
			stress.npages = atoi(optarg);
			break;
		case 'r':
			stress.seed = strtoull(optarg, NULL, 0);
			break;
		case 's':
			pf_slowness = atoi(optarg);
			break;
		case 't':
			stress.seconds = atoi(optarg);
			break;
		case 'v':
			stress.nr_vcpus = atoi(optarg);
			break;
		case 'w':
			stress.watchdog = atoi(optarg);
			break;
		case 'x':
			ok = parse_list(optarg, op_name, NR_OPS,
					stress.enabled, false);
			break;
		default:
			ok = false;
			break;
		}
	}

	if (!ok || !pf_slowness || !stress.nr_vcpus || !stress.npages ||
	    !stress.watchdog || !stress.repeat || stress.nr_vcpus > MAX_VCPUS ||
	    stress.npages > MAX_PAGES)
		help(argv[0]);
	if (!stress.types[TYPE_MEMFD])
		stress.enabled[OP_REMOVE] = false;
	if (!stress.types[TYPE_ANON] && !stress.types[TYPE_THP])
		stress.enabled[OP_FREE] = false;
	/* MADV_COLLAPSE needs the memory of a whole huge page. */
	if (!stress.types[TYPE_THP] || stress.npages < SZ_2M / PAGE_SIZE)
		stress.enabled[OP_COLLAPSE] = false;
	/* The log can be read only while dirty logging is enabled. */
	stress.enabled[OP_DIRTY_LOG] = stress.enabled[OP_DIRTY];
}

int main(int argc, char *argv[])
{
	pid_t killer = 0;
	unsigned int i;
	double end, latest, told;

	setvbuf(stdout, NULL, _IOLBF, 0);
	parse(argc, argv);
	ksft_print_header();
	ksft_print_msg("-r %lu makes the same decisions again\n", stress.seed);
	ksft_set_plan(NR_VERDICTS);

	/* The library opens this file for the guest's code, and does not search PATH. */
	program_invocation_name = "/proc/self/exe";
	if (!kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY) &&
	    stress.enabled[OP_PREFAULT])
		ksft_exit_skip("no KVM_CAP_PRE_FAULT_MEMORY\n");

	stress.shared = mmap(NULL, sizeof(*stress.shared), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(stress.shared != MAP_FAILED, "mmap()");
	pf_catch(SIGUSR1);

	/* Fork before starting threads, which the child would not have. */
	if (stress.enabled[OP_KILL] || stress.enabled[OP_CLOSE])
		killer = killer_start();
	run_vm();

	told = pf_now();
	end = told + stress.seconds;
	latest = end + SECONDS_MORE * pf_slowness;
	while (!any_failed() && (pf_now() < end ||
				 (never_happened() && pf_now() < latest))) {
		usleep(100000);
		watch();
		if (pf_now() > told + SECONDS_QUIET) {
			ksft_print_msg("%lu guest loops\n",
				       stress.shared->guest_loops);
			told = pf_now();
		}
	}
	WRITE_ONCE(stress.stop, true);
	WRITE_ONCE(stress.shared->stop, true);
	wait_for_all();
	if (stress.enabled[OP_KSM])
		pf_ksm_stop();
	if (killer)
		wait_for_killer(killer);

	print_counts();
	if (!any_failed() && never_happened())
		stress_fail(V_OPS, NULL, 0, "%s never happened",
			    never_happened());
	for (i = 0; i < NR_VERDICTS; i++)
		ksft_test_result(!stress.shared->failed[i], "%s\n",
				 verdict_names[i]);
	ksft_finished();
}
