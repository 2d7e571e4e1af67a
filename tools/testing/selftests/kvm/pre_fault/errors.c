// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY: host memory that can't be read.
 *
 * Every test has some pages that are fine, and then one that is not: the first
 * call gets as far as there, the next gets the errno and moves nothing.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/prctl.h>

#include "pre_fault.h"

#define NR_PAGES	16
#define NR_GOOD		5
#define SIZE		(NR_PAGES * PAGE_SIZE)
#define GOOD		(NR_GOOD * PAGE_SIZE)

static struct kvm_vcpu *vcpu_with_memory(void *mem)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, SIZE, mem);
	return vcpu;
}

static void check_partial(struct kvm_vcpu *vcpu, int err)
{
	struct pf_stats before = pf_stats(vcpu), d;
	double start = pf_now(), seconds;

	/* Nothing done yet: the errno, and the page before is left alone. */
	pf_expect(vcpu, TEST_GPA + GOOD, PAGE_SIZE, err, 0);
	pf_expect(vcpu, TEST_GPA + GOOD, SIZE - GOOD, err, 0);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(!d.prefaulted && !d.pages_4k, "%lu pages pre-faulted",
		    d.prefaulted);

	pf_expect(vcpu, TEST_GPA, SIZE, 0, GOOD);
	pf_expect(vcpu, TEST_GPA, SIZE, 0, GOOD);
	pf_expect(vcpu, TEST_GPA + GOOD - PAGE_SIZE, 2 * PAGE_SIZE, 0, PAGE_SIZE);
	pf_expect(vcpu, TEST_GPA + GOOD, SIZE - GOOD, err, 0);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(pf_prefaulted(&d, NR_GOOD) && pf_mapped(&d, NR_GOOD, 0),
		    "%lu pages pre-faulted, %lu mapped", d.prefaulted,
		    d.pages_4k);

	seconds = pf_now() - start;
	TEST_ASSERT(seconds < 2 * pf_slowness, "%.1f s for six calls", seconds);

	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_GOOD, 1, NR_GOOD);
}

/* The error was of the host memory only; nothing remembers it. */
static void check_repaired(struct kvm_vcpu *vcpu, void *mem)
{
	pf_fill(mem, TEST_GPA, SIZE, 2);
	pf_map(vcpu, TEST_GPA, SIZE);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 2);
}

static void efault_prot_none(void)
{
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	struct kvm_vcpu *vcpu = vcpu_with_memory(mem);

	TEST_ASSERT(!mprotect(mem + GOOD, SIZE - GOOD, PROT_NONE), "mprotect()");
	check_partial(vcpu, EFAULT);
	TEST_ASSERT(!mprotect(mem + GOOD, SIZE - GOOD, PROT_READ | PROT_WRITE),
		    "mprotect()");
	check_repaired(vcpu, mem);
}

static void efault_unmapped_hva(void)
{
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	struct kvm_vcpu *vcpu = vcpu_with_memory(mem);

	TEST_ASSERT(!munmap(mem + GOOD, SIZE - GOOD), "munmap()");
	check_partial(vcpu, EFAULT);
	TEST_ASSERT(mmap(mem + GOOD, SIZE - GOOD, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
		    MAP_FAILED, "mmap()");
	check_repaired(vcpu, mem);
}

static void check_beyond_eof(int fd, int flags)
{
	struct kvm_vcpu *vcpu;
	void *mem;

	TEST_ASSERT(!ftruncate(fd, SIZE), "ftruncate()");
	mem = pf_mmap(SIZE, PROT_READ | PROT_WRITE, flags, fd);
	TEST_ASSERT(mem != MAP_FAILED, "mmap()");
	pf_fill(mem, TEST_GPA, SIZE, 1);
	vcpu = vcpu_with_memory(mem);

	TEST_ASSERT(!ftruncate(fd, GOOD), "ftruncate()");
	check_partial(vcpu, EFAULT);
	TEST_ASSERT(!ftruncate(fd, SIZE), "ftruncate()");
	check_repaired(vcpu, mem);
	close(fd);
}

static void efault_beyond_eof(void)
{
	check_beyond_eof(memfd_create("pre_fault", 0), MAP_SHARED);
	check_beyond_eof(pf_tmpfile(SIZE), MAP_SHARED);
	check_beyond_eof(pf_tmpfile(SIZE), MAP_PRIVATE);
}

/* A mapping that can't be written is fine for a read. */
static void readable_is_enough(void)
{
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	struct kvm_vcpu *vcpu = vcpu_with_memory(mem);

	TEST_ASSERT(!mprotect(mem, SIZE, PROT_READ), "mprotect()");
	pf_map(vcpu, TEST_GPA, SIZE);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
}

static unsigned int nr_sigbus;

static void on_sigbus(int sig)
{
	WRITE_ONCE(nr_sigbus, nr_sigbus + 1);
}

static void ehwpoison(void)
{
	struct sigaction action = { .sa_handler = on_sigbus };
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	struct kvm_vcpu *vcpu = vcpu_with_memory(mem);

	TEST_ASSERT(!sigaction(SIGBUS, &action, NULL), "sigaction()");
	/* Else the kernel may tell of the poison when it is injected. */
	prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_LATE, 0, 0);

	if (madvise(mem + GOOD, PAGE_SIZE, MADV_HWPOISON)) {
		TEST_ASSERT(errno == EPERM || errno == EINVAL,
			    "MADV_HWPOISON: errno %d", errno);
		pf_skip("can't poison memory: %s", strerror(errno));
	}
	WRITE_ONCE(nr_sigbus, 0);

	check_partial(vcpu, EHWPOISON);
	/* The pages behind the poisoned one are not affected. */
	pf_map(vcpu, TEST_GPA + GOOD + PAGE_SIZE, SIZE - GOOD - PAGE_SIZE);
	TEST_ASSERT(!READ_ONCE(nr_sigbus), "%u SIGBUS", nr_sigbus);
}

const struct pf_test pf_error_tests[] = {
	PF_TEST(efault_prot_none),
	PF_TEST(efault_unmapped_hva),
	PF_TEST(efault_beyond_eof),
	PF_TEST(readable_is_enough),
	PF_TEST(ehwpoison),
	{ }
};
