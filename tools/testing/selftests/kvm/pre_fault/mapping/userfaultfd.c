// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY and userfaultfd: pages that are missing until another thread
 * provides them, signals during the wait, and write-protected pages.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <linux/userfaultfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "mapping.h"

#define NR_PAGES	16
#define SIZE		(NR_PAGES * PAGE_SIZE)
#define STOP_PAGE	4
#define PATIENCE	10

#define MANY_PAGES	1024
#define MANY_SIZE	(MANY_PAGES * PAGE_SIZE)
#define BYTES(pages)	((pages) * PAGE_SIZE)

/* Serves some pages, and sends a signal at the next */
struct interrupter {
	struct pf_uffd_server *server;
	/* The pages to serve before the signal */
	unsigned int nr;
	/* The thread to interrupt */
	pid_t tid;
	bool returned;
};

static void wait_returned(struct interrupter *in)
{
	double end = pf_now() + PATIENCE * pf_slowness;

	while (!READ_ONCE(in->returned) && pf_now() < end)
		usleep(1000);
}

/* The page at the signal is never served. */
static void *interrupt_fn(void *arg)
{
	struct interrupter *in = arg;
	struct pf_uffd_server *s = in->server;
	unsigned int i;

	for (i = 0; i < in->nr; i++)
		pf_uffd_serve_page(s, pf_uffd_wait(s->fd));
	pf_uffd_wait(s->fd);
	syscall(SYS_tgkill, getpid(), in->tid, SIGUSR1);

	/* If the kernel still waits for the page, the test fails: end the wait. */
	wait_returned(in);
	if (!READ_ONCE(in->returned))
		pf_uffd_zeropage(s->fd, s->mem + i * PAGE_SIZE,
				 SIZE - i * PAGE_SIZE);
	return NULL;
}

static void userfaultfd_served(void)
{
	struct pf_uffd_server s = { .mem = pf_mem(PF_ANON_NEW, SIZE, 0) };
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, s.mem, SIZE);

	pf_uffd_server_open(&s, SIZE);
	pf_uffd_server_start(&s, NR_PAGES);
	pf_map(vcpu, TEST_GPA, SIZE);
	pf_uffd_server_finish(&s);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
}

static void userfaultfd_signal(void)
{
	struct pf_uffd_server s = { .mem = pf_mem(PF_ANON_NEW, SIZE, 0) };
	struct interrupter in = { .server = &s, .tid = pf_gettid() };
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, s.mem, SIZE);
	struct pf_stats before, d;
	pthread_t thread;

	pf_uffd_server_open(&s, SIZE);
	pf_catch(SIGUSR1);
	before = pf_stats(vcpu);

	/* At a page in the middle, the call reports the progress. */
	in.nr = STOP_PAGE;
	thread = pf_thread(interrupt_fn, &in);
	pf_expect(vcpu, TEST_GPA, SIZE, 0, STOP_PAGE * PAGE_SIZE);
	WRITE_ONCE(in.returned, true);
	pf_join(thread);

	/* At the first page */
	in.nr = 0;
	WRITE_ONCE(in.returned, false);
	thread = pf_thread(interrupt_fn, &in);
	pf_expect(vcpu, TEST_GPA + STOP_PAGE * PAGE_SIZE,
		  SIZE - STOP_PAGE * PAGE_SIZE, EINTR, 0);
	WRITE_ONCE(in.returned, true);
	pf_join(thread);

	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(pf_prefaulted(&d, STOP_PAGE), "%lu pages pre-faulted",
		    d.prefaulted);

	/* Continue from there. */
	pf_uffd_server_start(&s, NR_PAGES - STOP_PAGE);
	pf_map(vcpu, TEST_GPA, SIZE);
	pf_uffd_server_finish(&s);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 1);
}

/* A process that waits for a page that never comes can be killed. */
static void userfaultfd_sigkill(void)
{
	struct pf_uffd_server s = { .mem = pf_mem(PF_ANON_NEW, SIZE, 0) };
	double end;
	int fds[2];
	pid_t pid;
	char c;

	/* Skip the test here, and not in the child, without userfaultfd. */
	pf_uffd_server_open(&s, SIZE);
	close(s.fd);

	TEST_ASSERT(!pipe(fds), "pipe()");
	pid = pf_fork();
	if (!pid) {
		struct kvm_vcpu *vcpu = pf_raw_vcpu();
		struct kvm_pre_fault_memory range = {
			.gpa = TEST_GPA,
			.size = SIZE,
		};

		vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA,
					  SIZE, s.mem);
		pf_uffd_server_open(&s, SIZE);
		TEST_ASSERT(write(fds[1], "", 1) == 1, "write()");
		pf_call(vcpu, &range);
		exit(0);
	}
	close(fds[1]);

	TEST_ASSERT(read(fds[0], &c, 1) == 1, "the other process failed early");
	usleep(100000 * pf_slowness);
	TEST_ASSERT(!waitpid(pid, NULL, WNOHANG), "the process did not wait for the page");

	kill(pid, SIGKILL);
	end = pf_now() + PATIENCE * pf_slowness;
	while (!waitpid(pid, NULL, WNOHANG)) {
		TEST_ASSERT(pf_now() < end, "the process can't be killed");
		usleep(1000);
	}
}

struct protector {
	int fd;
	void *mem;
	bool stop;
	/* The number of faults on each page */
	unsigned int faults[MANY_PAGES];
};

/* Let each write to a protected page continue, and count it. */
static void *protector_fn(void *arg)
{
	struct protector *p = arg;

	while (!READ_ONCE(p->stop)) {
		void *page = pf_uffd_poll(p->fd, 10);

		if (!page)
			continue;
		p->faults[(page - p->mem) / PAGE_SIZE]++;
		pf_uffd_protect(p->fd, page, false);
	}
	return NULL;
}

/* With @unmap, markers write-protect the pages that are absent. */
void mapping_check_uffd_wp(enum pf_memory memory, uint32_t flags, bool unmap)
{
	struct protector p = { .mem = pf_mem(memory, MANY_SIZE, 1) };
	struct kvm_vcpu *vcpu = pf_memory_vcpu(flags, p.mem, MANY_SIZE);
	pthread_t thread;
	unsigned int i;

	p.fd = pf_uffd_open(p.mem, MANY_SIZE, UFFDIO_REGISTER_MODE_WP);
	for (i = 0; i < MANY_PAGES; i += 3) {
		pf_uffd_protect(p.fd, p.mem + BYTES(i), true);
		if (unmap)
			madvise(p.mem + BYTES(i), PAGE_SIZE, MADV_DONTNEED);
	}

	thread = pf_thread(protector_fn, &p);
	pf_map_pages(vcpu, TEST_GPA, MANY_SIZE, MANY_PAGES);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, MANY_PAGES, 1, MANY_PAGES);
	for (i = 0; i < MANY_PAGES; i++)
		TEST_ASSERT(!p.faults[i], "a read was taken for a write");

	pf_guest(vcpu, PF_WRITE, TEST_GPA, MANY_PAGES, 2);
	pf_guest_check(vcpu, TEST_GPA, MANY_PAGES, 2);
	WRITE_ONCE(p.stop, true);
	pf_join(thread);
	for (i = 0; i < MANY_PAGES; i++)
		TEST_ASSERT(!p.faults[i] == !!(i % 3),
			    "page %u: userfaultfd was told of %u writes", i,
			    p.faults[i]);
}

static void uffd_wp_anon(void)
{
	mapping_check_uffd_wp(PF_ANON, 0, false);
}

static void uffd_wp_memfd(void)
{
	mapping_check_uffd_wp(PF_MEMFD, 0, false);
}

static void uffd_wp_marker(void)
{
	mapping_check_uffd_wp(PF_MEMFD, 0, true);
}

/* Pages that another thread must provide, among pages that are present */
static void check_uffd_missing(enum pf_memory memory)
{
	struct pf_uffd_server s = { .mem = pf_mem(memory, MANY_SIZE, 1) };
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, s.mem, MANY_SIZE);
	unsigned int i, nr = 0;

	pf_uffd_server_open(&s, MANY_SIZE);
	for (i = 6; i < MANY_PAGES; i += 7, nr++)
		TEST_ASSERT(!madvise(s.mem + BYTES(i), PAGE_SIZE,
				     memory == PF_ANON ? MADV_DONTNEED :
							 MADV_REMOVE),
			    "madvise()");

	pf_uffd_server_start(&s, nr);
	pf_map_pages(vcpu, TEST_GPA, MANY_SIZE, MANY_PAGES);
	pf_uffd_server_finish(&s);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, MANY_PAGES, 1, MANY_PAGES);
}

static void uffd_missing_anon(void)
{
	check_uffd_missing(PF_ANON);
}

static void uffd_missing_memfd(void)
{
	check_uffd_missing(PF_MEMFD);
}

const struct pf_test pf_userfaultfd_tests[] = {
	PF_TEST(userfaultfd_served),
	PF_TEST(userfaultfd_signal),
	PF_TEST(userfaultfd_sigkill),
	PF_TEST_BATCH(uffd_wp_anon),
	PF_TEST_BATCH(uffd_wp_memfd),
	PF_TEST_BATCH(uffd_wp_marker),
	PF_TEST_BATCH(uffd_missing_anon),
	PF_TEST_BATCH(uffd_missing_memfd),
	{ }
};
