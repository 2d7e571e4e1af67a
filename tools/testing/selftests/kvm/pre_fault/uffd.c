// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY with userfaultfd: a call can be stopped at any page, and
 * even at its argument, to have something happen just then.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <linux/userfaultfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "pre_fault.h"

#define NR_PAGES	16
#define SIZE		(NR_PAGES * PAGE_SIZE)
#define STOP_PAGE	4
#define PATIENCE	10

static int uffd_missing(void *mem, size_t size)
{
	return pf_uffd_open(mem, size, UFFDIO_REGISTER_MODE_MISSING);
}

struct server {
	int fd;
	void *mem;
	unsigned int nr;
	/* Whom to interrupt */
	pid_t tid;
	bool returned;
};

static void serve_page(struct server *s, void *page)
{
	static char data[4096] __aligned(4096);

	pf_fill(data, TEST_GPA + (page - s->mem), PAGE_SIZE, 1);
	pf_uffd_copy(s->fd, page, data);
}

static void serve(struct server *s)
{
	serve_page(s, pf_uffd_wait(s->fd));
}

static void *serve_fn(void *arg)
{
	struct server *s = arg;
	unsigned int i;

	for (i = 0; i < s->nr; i++)
		serve(s);
	return NULL;
}

static void wait_returned(struct server *s)
{
	double end = pf_now() + PATIENCE * pf_slowness;

	while (!READ_ONCE(s->returned) && pf_now() < end)
		usleep(1000);
}

/* Serve some pages, and send a signal at the next, which is never served. */
static void *interrupt_fn(void *arg)
{
	struct server *s = arg;
	unsigned int i, left = NR_PAGES;

	for (i = 0; i < s->nr; i++, left--)
		serve(s);
	pf_uffd_wait(s->fd);
	syscall(SYS_tgkill, getpid(), s->tid, SIGUSR1);

	/* A kernel that waits for the page has failed, but is not to hang. */
	wait_returned(s);
	if (!READ_ONCE(s->returned)) {
		struct uffdio_zeropage zero = {
			.range = { (unsigned long)s->mem, SIZE },
		};

		zero.range.start += (NR_PAGES - left) * PAGE_SIZE;
		zero.range.len = left * PAGE_SIZE;
		ioctl(s->fd, UFFDIO_ZEROPAGE, &zero);
	}
	return NULL;
}

static void *missing_memory(void)
{
	void *mem = pf_mmap(SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1);

	TEST_ASSERT(mem != MAP_FAILED, "mmap()");
	return mem;
}

static void userfaultfd_served(void)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	struct server s = { .mem = missing_memory(), .nr = NR_PAGES };
	pthread_t thread;

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, SIZE, s.mem);
	s.fd = uffd_missing(s.mem, SIZE);
	thread = pf_thread(serve_fn, &s);
	pf_map(vcpu, TEST_GPA, SIZE);
	pf_join(thread);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
}

static void userfaultfd_signal(void)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	struct server s = { .mem = missing_memory(), .tid = pf_gettid() };
	struct pf_stats before, d;
	pthread_t thread;

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, SIZE, s.mem);
	s.fd = uffd_missing(s.mem, SIZE);
	pf_catch(SIGUSR1);
	before = pf_stats(vcpu);

	/* In the middle: what was done before is reported, and that is all. */
	s.nr = STOP_PAGE;
	thread = pf_thread(interrupt_fn, &s);
	pf_expect(vcpu, TEST_GPA, SIZE, 0, STOP_PAGE * PAGE_SIZE);
	WRITE_ONCE(s.returned, true);
	pf_join(thread);

	/* At the first page */
	s.nr = 0;
	WRITE_ONCE(s.returned, false);
	thread = pf_thread(interrupt_fn, &s);
	pf_expect(vcpu, TEST_GPA + STOP_PAGE * PAGE_SIZE,
		  SIZE - STOP_PAGE * PAGE_SIZE, EINTR, 0);
	WRITE_ONCE(s.returned, true);
	pf_join(thread);

	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(pf_prefaulted(&d, STOP_PAGE), "%lu pages pre-faulted",
		    d.prefaulted);

	/* And on from there */
	s.nr = NR_PAGES - STOP_PAGE;
	thread = pf_thread(serve_fn, &s);
	pf_map(vcpu, TEST_GPA, SIZE);
	pf_join(thread);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 1);
}

/* A process that waits for a page that never comes can be killed. */
static void userfaultfd_sigkill(void)
{
	double end;
	int fds[2];
	pid_t pid;
	char c;

	/* Only to find out, here, whether it can be had */
	close(uffd_missing(missing_memory(), SIZE));

	TEST_ASSERT(!pipe(fds), "pipe()");
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork()");
	if (!pid) {
		struct kvm_vcpu *vcpu = pf_raw_vcpu();
		struct kvm_pre_fault_memory range = {
			.gpa = TEST_GPA,
			.size = SIZE,
		};
		struct server s = { .mem = missing_memory() };

		vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA,
					  SIZE, s.mem);
		s.fd = uffd_missing(s.mem, SIZE);
		TEST_ASSERT(write(fds[1], "", 1) == 1, "write()");
		pf_call(vcpu, &range);
		exit(0);
	}
	close(fds[1]);

	TEST_ASSERT(read(fds[0], &c, 1) == 1, "the other process failed early");
	usleep(100000 * pf_slowness);
	TEST_ASSERT(!waitpid(pid, NULL, WNOHANG), "it did not wait for the page");

	kill(pid, SIGKILL);
	end = pf_now() + PATIENCE * pf_slowness;
	while (!waitpid(pid, NULL, WNOHANG)) {
		TEST_ASSERT(pf_now() < end, "it can't be killed");
		usleep(1000);
	}
}

struct argument {
	int fd;
	pid_t tid;
	struct kvm_pre_fault_memory *range;
};

static void *argument_fn(void *arg)
{
	static char data[4096] __aligned(4096);
	struct argument *a = arg;

	*(struct kvm_pre_fault_memory *)data = (struct kvm_pre_fault_memory) {
		.gpa = TEST_GPA,
		.size = SIZE,
	};
	pf_uffd_wait(a->fd);
	syscall(SYS_tgkill, getpid(), a->tid, SIGUSR1);
	pf_uffd_copy(a->fd, a->range, data);
	return NULL;
}

/* The signal comes while the kernel reads the argument, i.e. in good time. */
static void eintr_pending(void)
{
	struct kvm_vcpu *vcpu = pf_raw_vcpu();
	struct argument a = { .tid = pf_gettid() };
	struct pf_stats before, d;
	pthread_t thread;
	int ret;

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, SIZE,
				  pf_mem(PF_ANON, SIZE, 1));
	pf_catch(SIGUSR1);
	before = pf_stats(vcpu);

	a.range = pf_mmap(PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1);
	a.fd = uffd_missing(a.range, PAGE_SIZE);
	thread = pf_thread(argument_fn, &a);
	ret = pf_call(vcpu, a.range);
	pf_join(thread);

	TEST_ASSERT(ret == EINTR, "errno %d (%s)", ret, strerror(ret));
	TEST_ASSERT(a.range->gpa == TEST_GPA && a.range->size == SIZE,
		    "%#llx done", a.range->gpa - TEST_GPA);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(!d.prefaulted && !d.pages_4k, "%lu pages pre-faulted",
		    d.prefaulted);

	/* The signal is delivered, and the call can be made again as it is. */
	TEST_ASSERT(!pf_call(vcpu, a.range) && !a.range->size, "errno %d", errno);
}

struct blocked {
	struct kvm_vcpu *vcpu;
	struct kvm_pre_fault_memory range;
	uint64_t new_gpa;
	uint64_t new_size;
	void *mem;
	int ret;
	bool returned;
};

static void *block_fn(void *arg)
{
	struct blocked *b = arg;

	b->ret = pf_call(b->vcpu, &b->range);
	WRITE_ONCE(b->returned, true);
	return NULL;
}

static void *update_slot_fn(void *arg)
{
	struct blocked *b = arg;

	vm_set_user_memory_region(b->vcpu->vm, TEST_SLOT, 0, b->new_gpa,
				  b->new_size, b->mem);
	return NULL;
}

/*
 * One vCPU's pre-fault waits for a page, which holds up the update of the
 * memslot, so that another vCPU has all the time to see it half-way.
 */
static void check_eagain(bool move)
{
	struct kvm_vcpu *vcpu = pf_raw_vcpu(), *other;
	struct blocked b = {
		.vcpu = vcpu,
		.range = { .gpa = TEST_GPA, .size = PAGE_SIZE },
		.new_gpa = move ? TEST_GPA + 4 * SIZE : TEST_GPA,
		.new_size = move ? SIZE : 0,
		.mem = missing_memory(),
	};
	struct kvm_pre_fault_memory range;
	pthread_t blocker, updater;
	struct pf_stats before, d;
	struct server s = { .mem = b.mem };
	double end;
	void *page;
	int ret;

	other = __vm_vcpu_add(vcpu->vm, 1);
	pf_arch_vcpu_init(other);
	vm_set_user_memory_region(vcpu->vm, TEST_SLOT2, 0, TEST_GPA - SIZE, SIZE,
				  pf_mem(PF_ANON, SIZE, 0));
	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, SIZE, b.mem);
	madvise(b.mem, SIZE, MADV_NOHUGEPAGE);
	pf_fill(b.mem + PAGE_SIZE, TEST_GPA + PAGE_SIZE, SIZE - PAGE_SIZE, 1);

	s.fd = uffd_missing(b.mem, PAGE_SIZE);
	blocker = pf_thread(block_fn, &b);
	page = pf_uffd_wait(s.fd);
	updater = pf_thread(update_slot_fn, &b);

	/* Have a call that does not end by itself interrupted. */
	pf_catch(SIGALRM);
	alarm(PATIENCE * pf_slowness);
	end = pf_now() + PATIENCE * pf_slowness;
	do {
		range = (struct kvm_pre_fault_memory) {
			.gpa = TEST_GPA + PAGE_SIZE,
			.size = PAGE_SIZE,
		};
		ret = pf_call(other, &range);
		TEST_ASSERT(!ret || ret == EAGAIN, "errno %d (%s)", ret,
			    strerror(ret));
		TEST_ASSERT(pf_now() < end, "the memslot never was on its way");
	} while (!ret);

	before = pf_stats(other);
	pf_expect(other, TEST_GPA + PAGE_SIZE, PAGE_SIZE, EAGAIN, 0);
	pf_expect(other, TEST_GPA + 2 * PAGE_SIZE, SIZE, EAGAIN, 0);
	pf_expect(other, TEST_GPA - SIZE, 2 * SIZE, 0, SIZE);
	d = pf_stats_since(other, &before);
	TEST_ASSERT(pf_prefaulted(&d, NR_PAGES), "%lu pages pre-faulted",
		    d.prefaulted);

	serve_page(&s, page);
	pf_join(blocker);
	pf_join(updater);
	alarm(0);
	TEST_ASSERT(!b.ret || b.ret == EAGAIN || b.ret == ENOENT,
		    "errno %d (%s) for the call that waited", b.ret,
		    strerror(b.ret));
	pf_expect(other, TEST_GPA + PAGE_SIZE, PAGE_SIZE, ENOENT, 0);
	if (move)
		pf_map(other, b.new_gpa, SIZE);
}

static void eagain_memslot_delete(void)
{
	check_eagain(false);
}

static void eagain_memslot_move(void)
{
	check_eagain(true);
}

static void *delete_other_fn(void *arg)
{
	struct kvm_vcpu *vcpu = arg;

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT2, 0, TEST_GPA + SIZE, 0,
				  NULL);
	return NULL;
}

static void wait_unmapped(struct kvm_vcpu *vcpu)
{
	double end = pf_now() + pf_slowness;

	do
		usleep(10000);
	while (pf_now() < end && (!pf_counts_mappings || pf_stats(vcpu).pages_4k));
}

/*
 * Deleting a memslot waits for SRCU readers before and after it makes the roots
 * of the VM obsolete. A call that begins in between, and stops at a page, comes
 * back to an obsolete root while the deletion waits for it: to retry with that
 * root is to retry for ever.
 */
static void other_memslot_deleted(void)
{
	struct kvm_vcpu *vcpus[2] = { pf_raw_vcpu() };
	struct blocked b[2] = {};
	pthread_t blockers[2], deleter;
	struct server s = { .mem = missing_memory() };
	void *pages[2];
	double end;
	int i;

	vcpus[1] = __vm_vcpu_add(vcpus[0]->vm, 1);
	pf_arch_vcpu_init(vcpus[1]);
	vm_set_user_memory_region(vcpus[0]->vm, TEST_SLOT, 0, TEST_GPA, SIZE,
				  s.mem);
	vm_set_user_memory_region(vcpus[0]->vm, TEST_SLOT2, 0, TEST_GPA + SIZE,
				  SIZE, pf_mem(PF_ANON, SIZE, 0));
	pf_map(vcpus[1], TEST_GPA + SIZE, SIZE);
	s.fd = uffd_missing(s.mem, SIZE);

	for (i = 0; i < 2; i++) {
		b[i].vcpu = vcpus[i];
		b[i].range.gpa = TEST_GPA + i * PAGE_SIZE;
		b[i].range.size = PAGE_SIZE;
		blockers[i] = pf_thread(block_fn, &b[i]);
		pages[i] = pf_uffd_wait(s.fd);
		if (i)
			break;
		/* The deletion has all the time to get to where it waits. */
		deleter = pf_thread(delete_other_fn, vcpus[0]);
		usleep(100000 * pf_slowness);
	}

	serve_page(&s, pages[0]);
	pf_join(blockers[0]);
	wait_unmapped(vcpus[0]);
	serve_page(&s, pages[1]);

	end = pf_now() + PATIENCE * pf_slowness;
	while (!READ_ONCE(b[1].returned)) {
		TEST_ASSERT(pf_now() < end, "the pre-fault does not end");
		usleep(1000);
	}
	pf_join(blockers[1]);
	pf_join(deleter);
	for (i = 0; i < 2; i++)
		TEST_ASSERT(!b[i].ret && !b[i].range.size, "errno %d (%s)",
			    b[i].ret, strerror(b[i].ret));
	pf_expect(vcpus[1], TEST_GPA + SIZE, SIZE, ENOENT, 0);
}

const struct pf_test pf_uffd_tests[] = {
	PF_TEST(eintr_pending),
	PF_TEST(userfaultfd_served),
	PF_TEST(userfaultfd_signal),
	PF_TEST(userfaultfd_sigkill),
	PF_TEST(eagain_memslot_delete),
	PF_TEST(eagain_memslot_move),
	PF_TEST(other_memslot_deleted),
	{ }
};
