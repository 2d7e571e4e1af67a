// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY: host memory that can't be read, or can't be written.
 *
 * The call stops at the first bad page and reports success; the next call returns
 * the errno and makes no progress.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/prctl.h>

#include "../pre_fault.h"

#define NR_PAGES	16
#define NR_GOOD		5
#define SIZE		(NR_PAGES * PAGE_SIZE)
#define GOOD		(NR_GOOD * PAGE_SIZE)

/* Three page tables */
#define MANY_PAGES	1536
#define MANY_SIZE	(MANY_PAGES * PAGE_SIZE)
#define BYTES(pages)	((pages) * PAGE_SIZE)

static void check_partial(struct kvm_vcpu *vcpu, int err)
{
	struct pf_stats before = pf_stats(vcpu), d;
	double start = pf_now(), seconds;

	/* A call that begins at the bad page fails and leaves the page before alone. */
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

/* The call succeeds as soon as the host memory is repaired. */
static void check_repaired(struct kvm_vcpu *vcpu, void *mem)
{
	pf_fill(mem, TEST_GPA, SIZE, 2);
	pf_map(vcpu, TEST_GPA, SIZE);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 2);
}

static void efault_prot_none(void)
{
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, SIZE);

	TEST_ASSERT(!mprotect(mem + GOOD, SIZE - GOOD, PROT_NONE), "mprotect()");
	check_partial(vcpu, EFAULT);
	TEST_ASSERT(!mprotect(mem + GOOD, SIZE - GOOD, PROT_READ | PROT_WRITE),
		    "mprotect()");
	check_repaired(vcpu, mem);
}

static void efault_unmapped_hva(void)
{
	void *mem = pf_mem(PF_ANON, SIZE, 1);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, SIZE);

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
	vcpu = pf_memory_vcpu(0, mem, SIZE);

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
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, SIZE);

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
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, SIZE);

	TEST_ASSERT(!sigaction(SIGBUS, &action, NULL), "sigaction()");
	/* Otherwise the kernel may send SIGBUS when the poison is injected. */
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

static void unmap(void *page)
{
	TEST_ASSERT(!munmap(page, PAGE_SIZE), "munmap()");
}

static void forbid(void *page)
{
	TEST_ASSERT(!mprotect(page, PAGE_SIZE, PROT_NONE), "mprotect()");
}

static void replace(void *page)
{
	TEST_ASSERT(mmap(page, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			 MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page, "mmap()");
}

/* A page that can't be read stops the call right there, wherever it is. */
static void check_bad_pages(void (*spoil)(void *page))
{
	static const uint64_t bad[] = { 1, 5, 6, 255, 511, 512, 1023, 1025, 1535 };
	void *mem = pf_mem(PF_ANON, MANY_SIZE, 1);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, MANY_SIZE);
	uint64_t gpa, size, nr, next = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		spoil(mem + BYTES(bad[i]));

	for (i = 0; i < ARRAY_SIZE(bad); i++, next++) {
		gpa = TEST_GPA + BYTES(next);
		size = MANY_SIZE - BYTES(next);
		nr = bad[i] - next;
		if (nr)
			pf_expect_pages(vcpu, gpa, size, 0, BYTES(nr), nr);
		pf_expect_pages(vcpu, gpa + BYTES(nr), size - BYTES(nr), EFAULT,
				0, 0);
		if (nr)
			pf_guest_no_fault(vcpu, PF_READ, gpa, nr, 1, nr);
		next = bad[i];
	}

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		replace(mem + BYTES(bad[i]));
	pf_fill(mem, TEST_GPA, MANY_SIZE, 2);
	pf_map(vcpu, TEST_GPA, MANY_SIZE);
	pf_guest_check(vcpu, TEST_GPA, MANY_PAGES, 2);
}

static void efault_munmapped_pages(void)
{
	check_bad_pages(unmap);
}

static void efault_prot_none_pages(void)
{
	check_bad_pages(forbid);
}

/* Pages that only the VMM's mapping makes read-only */
static void prot_read_pages(void)
{
	static const uint64_t first[] = { 0, 9, 511, 1000 };
	void *mem = pf_mem(PF_ANON, MANY_SIZE, 1);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, mem, MANY_SIZE);
	unsigned int i;
	uint64_t gpa;

	for (i = 0; i < ARRAY_SIZE(first); i++)
		TEST_ASSERT(!mprotect(mem + BYTES(first[i]), BYTES(2), PROT_READ),
			    "mprotect()");

	pf_map_pages(vcpu, TEST_GPA, MANY_SIZE, MANY_PAGES);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, MANY_PAGES, 1, MANY_PAGES);

	for (i = 0; i < ARRAY_SIZE(first); i++) {
		gpa = TEST_GPA + BYTES(first[i] + 1);
		pf_guest_no_fault(vcpu, PF_WRITE, gpa + PAGE_SIZE, 5, 1, 5);
		pf_guest_order(vcpu, PF_WRITE, gpa, 1, 3);
		TEST_ASSERT(__vcpu_run(vcpu) == -1 && errno == EFAULT,
			    "the guest could write page %lu", first[i] + 1);
		TEST_ASSERT(pf_page_is(mem + BYTES(first[i] + 1), gpa, 1),
			    "the guest did write page %lu", first[i] + 1);

		TEST_ASSERT(!mprotect(mem + BYTES(first[i]), BYTES(2),
				      PROT_READ | PROT_WRITE), "mprotect()");
		vcpu_run(vcpu);
		pf_guest_finish(vcpu);
		pf_guest_check(vcpu, gpa, 1, 3);
	}
}

const struct pf_test pf_error_tests[] = {
	PF_TEST(efault_prot_none),
	PF_TEST(efault_unmapped_hva),
	PF_TEST(efault_beyond_eof),
	PF_TEST(readable_is_enough),
	PF_TEST(ehwpoison),
	PF_TEST_BATCH(efault_munmapped_pages),
	PF_TEST_BATCH(efault_prot_none_pages),
	PF_TEST_BATCH(prot_read_pages),
	{ }
};
