// SPDX-License-Identifier: GPL-2.0-only
/*
 * Other disturbances: signals, nx_huge_pages, and VMs that end suddenly.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "stress.h"

#define NX		"/sys/module/kvm/parameters/nx_huge_pages"
#define CHILD_PAGES	128u
#define CHILD_VCPUS	2
#define FIRST_CHILD_TAG	0x100
#define NR_CHILD_TAGS	0xf000

void signals_main(struct worker *w)
{
	while (!stopping()) {
		struct worker *to = &stress.workers[rnd_below(w, stress.nr_vcpus)];

		if (READ_ONCE(to->tid) && !READ_ONCE(to->done)) {
			syscall(SYS_tgkill, getpid(), to->tid, SIGUSR1);
			did(w, OP_SIGNAL);
		}
		w->progress++;
		pace(w, 5000);
	}
}

void nx_main(struct worker *w)
{
	char old[4] = "N";
	int fd = open(NX, O_RDONLY);
	bool on = false;

	if (fd < 0 || read(fd, old, 1) != 1) {
		op_missing(OP_NX, "no nx_huge_pages");
		return;
	}
	close(fd);

	while (!stopping()) {
		on = !on;
		if (pf_write_str(NX, on ? "Y" : "N")) {
			op_missing(OP_NX, "nx_huge_pages can't be written");
			return;
		}
		did(w, OP_NX);
		pace(w, 50000);
	}
	pf_write_str(NX, old);
}

/*
 * Close the file descriptors of the VM and its vCPUs while threads use them. Replace
 * each with another file, so that its number is not reused.
 */
static void close_vm(struct worker *w)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	unsigned int i;

	TEST_ASSERT(null >= 0, "/dev/null");
	for (i = 0; i < stress.nr_areas; i++)
		pthread_mutex_lock(&stress.areas[i].mutex);
	WRITE_ONCE(stress.closing, true);
	for (i = 0; i < stress.nr_areas; i++)
		pthread_mutex_unlock(&stress.areas[i].mutex);

	dup2(null, stress.vm->fd);
	for (i = 0; i < stress.nr_vcpus; i++) {
		rnd_sleep(w, 2000);
		dup2(null, stress.workers[i].vcpu->fd);
	}
	for (i = 0; i < stress.nr_vcpus; i++)
		pf_join(stress.workers[i].thread);
	did(w, OP_CLOSE);
}

static __noreturn void child_main(unsigned int nr)
{
	struct worker *w;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	stress.child = true;
	stress.tag = FIRST_CHILD_TAG + nr % NR_CHILD_TAGS;
	stress.npages = min(stress.npages, CHILD_PAGES);
	stress.nr_vcpus = CHILD_VCPUS;

	run_vm();
	w = add_worker("close", NULL);
	if (stress.enabled[OP_CLOSE] &&
	    (!stress.enabled[OP_KILL] || rnd_one_in(w, 3))) {
		rnd_sleep(w, 200000);
		close_vm(w);
		_exit(0);
	}

	__atomic_store_n(&stress.shared->child_runs, true, __ATOMIC_SEQ_CST);
	for (;;)
		pause();
}

static void one_child(struct worker *w, unsigned int nr)
{
	int status = 0;
	pid_t pid;

	WRITE_ONCE(stress.shared->child_runs, false);
	pid = pf_fork();
	if (!pid)
		child_main(nr);

	/* Sometimes kill the VM while it is being created. */
	while (!READ_ONCE(stress.shared->child_runs) && !stopping() &&
	       !rnd_one_in(w, 5000)) {
		usleep(1000);
		if (waitpid(pid, &status, WNOHANG) == pid)
			goto out;
	}
	rnd_sleep(w, 300000);
	if (stress.enabled[OP_KILL] || stopping()) {
		kill(pid, SIGKILL);
		did(w, OP_KILL);
	}
	status = pf_wait(pid);
out:
	if (status && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
		stress_fail(V_CALLS, NULL, 0, "a VM's process ended with status %#x",
			    status);
}

/* A process that makes one VM after the other, and kills it. */
pid_t killer_start(void)
{
	struct worker w = { .name = "killer", .id = MAX_WORKERS };
	unsigned int nr;
	pid_t pid;

	pid = pf_fork();
	if (pid)
		return pid;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	rnd_seed(&w, stress.seed);
	stress.start = pf_now();
	for (nr = 0; !stopping(); nr++)
		one_child(&w, nr);
	_exit(0);
}
