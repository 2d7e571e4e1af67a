// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY over host PTEs that mean more than they say: those that
 * userfaultfd protects, merged by KSM, tracked as soft-dirty, or made
 * inaccessible to learn who uses them. A pre-fault may not take that away.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <linux/userfaultfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "pre_fault.h"

#define NR_PAGES	1024
#define SIZE		(NR_PAGES * PAGE_SIZE)
#define BYTES(pages)	((pages) * PAGE_SIZE)

/* Of one that blocks, poll() tells nothing but POLLERR. */
static int uffd_open(void *mem, uint64_t mode)
{
	int fd = pf_uffd_open(mem, SIZE, mode);

	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

struct protector {
	int fd;
	void *mem;
	bool stop;
	/* How often the page was asked for */
	unsigned int faults[NR_PAGES];
};

/* Let each write to a protected page happen, and take note of it. */
static void *protector_fn(void *arg)
{
	struct protector *p = arg;
	struct pollfd pfd = { .fd = p->fd, .events = POLLIN };

	while (!READ_ONCE(p->stop)) {
		void *page;

		if (poll(&pfd, 1, 10) != 1)
			continue;
		page = pf_uffd_wait(p->fd);
		p->faults[(page - p->mem) / PAGE_SIZE]++;
		pf_uffd_protect(p->fd, page, false);
	}
	return NULL;
}

/* With @unmap, what protects a page is a marker where there is no page. */
static void check_uffd_wp(enum pf_backing backing, uint32_t flags, bool unmap)
{
	struct protector p = { .mem = pf_mem(backing, SIZE, 1) };
	struct kvm_vcpu *vcpu = pf_memory_vcpu(flags, p.mem, SIZE);
	pthread_t thread;
	unsigned int i;

	p.fd = uffd_open(p.mem, UFFDIO_REGISTER_MODE_WP);
	for (i = 0; i < NR_PAGES; i += 3) {
		pf_uffd_protect(p.fd, p.mem + BYTES(i), true);
		if (unmap)
			madvise(p.mem + BYTES(i), PAGE_SIZE, MADV_DONTNEED);
	}

	thread = pf_thread(protector_fn, &p);
	pf_map_pages(vcpu, TEST_GPA, SIZE, NR_PAGES);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
	for (i = 0; i < NR_PAGES; i++)
		TEST_ASSERT(!p.faults[i], "a read was taken for a write");

	pf_guest(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 2);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 2);
	WRITE_ONCE(p.stop, true);
	pf_join(thread);
	for (i = 0; i < NR_PAGES; i++)
		TEST_ASSERT(!p.faults[i] == !!(i % 3),
			    "page %u: userfaultfd was told of %u writes", i,
			    p.faults[i]);
}

static void batch_uffd_wp_anon(void)
{
	check_uffd_wp(PF_ANON, 0, false);
}

static void batch_uffd_wp_memfd(void)
{
	check_uffd_wp(PF_MEMFD, 0, false);
}

static void batch_uffd_wp_marker(void)
{
	check_uffd_wp(PF_MEMFD, 0, true);
}

static void batch_uffd_wp_dirty_log(void)
{
	check_uffd_wp(PF_ANON, KVM_MEM_LOG_DIRTY_PAGES, false);
}

struct server {
	int fd;
	void *mem;
	unsigned int nr;
	unsigned int served;
};

static void *serve_fn(void *arg)
{
	static char data[4096] __aligned(4096);
	struct server *s = arg;
	struct pollfd pfd = { .fd = s->fd, .events = POLLIN };

	for (s->served = 0; s->served < s->nr; s->served++) {
		void *page;

		if (poll(&pfd, 1, 10000 * pf_slowness) != 1)
			break;
		page = pf_uffd_wait(s->fd);
		pf_fill(data, TEST_GPA + (page - s->mem), PAGE_SIZE, 1);
		pf_uffd_copy(s->fd, page, data);
	}
	return NULL;
}

/* Pages that somebody else has to bring, among those that are there */
static void check_uffd_missing(enum pf_backing backing)
{
	struct server s = { .mem = pf_mem(backing, SIZE, 1) };
	struct kvm_vcpu *vcpu = pf_memory_vcpu(0, s.mem, SIZE);
	pthread_t thread;
	unsigned int i;

	s.fd = uffd_open(s.mem, UFFDIO_REGISTER_MODE_MISSING);
	for (i = 6; i < NR_PAGES; i += 7, s.nr++)
		TEST_ASSERT(!madvise(s.mem + BYTES(i), PAGE_SIZE,
				     backing == PF_ANON ? MADV_DONTNEED :
							  MADV_REMOVE),
			    "madvise()");

	thread = pf_thread(serve_fn, &s);
	pf_map_pages(vcpu, TEST_GPA, SIZE, NR_PAGES);
	pf_join(thread);
	TEST_ASSERT(s.served == s.nr, "%u of %u pages served", s.served, s.nr);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
}

static void batch_uffd_missing_anon(void)
{
	check_uffd_missing(PF_ANON);
}

static void batch_uffd_missing_memfd(void)
{
	check_uffd_missing(PF_MEMFD);
}

/* The guest's write ends the sharing, and nobody else sees it. */
static void check_ksm(uint32_t flags)
{
	uint64_t nr = NR_PAGES / 2, i;
	struct kvm_vcpu *vcpu;
	void *mem, *twins;
	struct pf_stats d;
	long merged;

	pf_ksm_start();
	mem = pf_mem(PF_ANON, SIZE, 1);
	twins = pf_mem(PF_ANON, SIZE, 1);
	vcpu = pf_memory_vcpu(flags, mem, SIZE);
	madvise(twins, BYTES(nr), MADV_MERGEABLE);
	madvise(mem, BYTES(nr), MADV_MERGEABLE);
	pf_ksm_scan();
	pf_ksm_stop();
	merged = pf_ksm_merged();
	TEST_ASSERT(merged > 0, "no page was merged");

	pf_map_pages(vcpu, TEST_GPA, SIZE, NR_PAGES);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
	TEST_ASSERT(pf_ksm_merged() == merged, "%ld of %ld pages still merged",
		    pf_ksm_merged(), merged);

	d = pf_guest_stats(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 2);
	TEST_ASSERT(d.taken >= merged, "%lu faults for writes to %ld merged pages",
		    d.taken, merged);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 2);
	for (i = 0; i < NR_PAGES; i++) {
		uint64_t gpa = TEST_GPA + BYTES(i);

		TEST_ASSERT(pf_page_is(twins + BYTES(i), gpa, 1),
			    "page %lu: the guest wrote to the twin", i);
		TEST_ASSERT(pf_page_is(mem + BYTES(i), gpa, 2),
			    "page %lu: the guest's write is lost", i);
	}
}

static void batch_ksm(void)
{
	check_ksm(0);
}

static void batch_ksm_dirty_log(void)
{
	check_ksm(KVM_MEM_LOG_DIRTY_PAGES);
}

static bool is_soft_dirty(void *page)
{
	return pf_pagemap(page) & PAGEMAP_SOFT_DIRTY;
}

static void clear_soft_dirty(void)
{
	TEST_ASSERT(!pf_write_str("/proc/self/clear_refs", "4"),
		    "/proc/self/clear_refs");
}

/* Those who look at soft-dirty bits learn of each write of the guest. */
static void check_soft_dirty(enum pf_backing backing, uint32_t flags)
{
	void *mem = pf_mem(backing, SIZE, 1);
	struct kvm_vcpu *vcpu = pf_memory_vcpu(flags, mem, SIZE);
	uint8_t plan[NR_PAGES] = {};
	unsigned int i;

	if (!is_soft_dirty(mem))
		pf_skip("no soft-dirty bits");
	clear_soft_dirty();
	TEST_ASSERT(!is_soft_dirty(mem), "it can't be cleared");

	pf_map_pages(vcpu, TEST_GPA, SIZE, NR_PAGES);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
	for (i = 0; i < NR_PAGES; i++)
		TEST_ASSERT(!is_soft_dirty(mem + BYTES(i)),
			    "page %u: the pre-fault was a write", i);

	for (i = 0; i < NR_PAGES; i += 3)
		plan[i] = 2;
	pf_plan(vcpu, plan, NR_PAGES);
	pf_guest(vcpu, PF_WRITE_PLAN, TEST_GPA, NR_PAGES, 0);
	for (i = 0; i < NR_PAGES; i++) {
		bool dirty = is_soft_dirty(mem + BYTES(i));

		TEST_ASSERT(dirty == !(i % 3), "page %u is %ssoft-dirty", i,
			    dirty ? "" : "not ");
	}
}

static void batch_soft_dirty_anon(void)
{
	check_soft_dirty(PF_ANON, 0);
}

static void batch_soft_dirty_memfd(void)
{
	check_soft_dirty(PF_MEMFD, 0);
}

static void batch_soft_dirty_dirty_log(void)
{
	check_soft_dirty(PF_ANON, KVM_MEM_LOG_DIRTY_PAGES);
}

/* A counter in /proc/vmstat; -1 if there is none. */
static long vm_event(const char *wanted)
{
	FILE *f = fopen("/proc/vmstat", "r");
	char name[64];
	long value;

	TEST_ASSERT(f, "/proc/vmstat");
	while (fscanf(f, "%63s %ld", name, &value) == 2) {
		if (!strcmp(name, wanted)) {
			fclose(f);
			return value;
		}
	}
	fclose(f);
	return -1;
}

#define NUMA_BALANCING	"/proc/sys/kernel/numa_balancing"

static void numa_balancing_off(void)
{
	pf_write_str(NUMA_BALANCING, "0");
}

static void *numa_spin_fn(void *arg)
{
	bool *stop = arg;

	/* A page nobody has touched; only being on a CPU counts. */
	while (!READ_ONCE(*stop))
		;
	return NULL;
}

/*
 * NUMA balancing makes pages inaccessible to see the next access. To a
 * pre-fault that is one like a guest's.
 */
static void batch_numa_hinting(void)
{
	double end = pf_now() + 30.0 * pf_slowness;
	long updates, hints, hinted = 0;
	struct kvm_vcpu *vcpu;
	pthread_t thread;
	bool stop = false;
	void *mem;

	if (access("/sys/devices/system/node/node1", F_OK))
		pf_skip("only one NUMA node");
	if (access(NUMA_BALANCING, W_OK) || vm_event("numa_hint_faults") < 0)
		pf_skip("no NUMA balancing");

	mem = pf_mem(PF_ANON, SIZE, 1);
	vcpu = pf_memory_vcpu(0, mem, SIZE);
	updates = vm_event("numa_pte_updates");
	atexit(numa_balancing_off);
	TEST_ASSERT(!pf_write_str(NUMA_BALANCING, "1"), "no NUMA balancing");
	thread = pf_thread(numa_spin_fn, &stop);
	do {
		TEST_ASSERT(pf_now() < end, "%ld pages made inaccessible",
			    hinted);
		usleep(10000);
		hinted = vm_event("numa_pte_updates") - updates;
	} while (hinted < NR_PAGES);
	numa_balancing_off();
	WRITE_ONCE(stop, true);
	pf_join(thread);

	hints = vm_event("numa_hint_faults");
	pf_map(vcpu, TEST_GPA, SIZE);
	hints = vm_event("numa_hint_faults") - hints;
	pr_info("%ld pages made inaccessible, %ld hints\n", hinted, hints);
	TEST_ASSERT(hints >= NR_PAGES / 2, "the host learnt of %ld accesses",
		    hints);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 1);
	pf_guest(vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 2);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 2);
}

const struct pf_test pf_batch_host_tests[] = {
	PF_TEST(batch_uffd_wp_anon),
	PF_TEST(batch_uffd_wp_memfd),
	PF_TEST(batch_uffd_wp_marker),
	PF_TEST(batch_uffd_wp_dirty_log),
	PF_TEST(batch_uffd_missing_anon),
	PF_TEST(batch_uffd_missing_memfd),
	PF_TEST(batch_ksm),
	PF_TEST(batch_ksm_dirty_log),
	PF_TEST(batch_soft_dirty_anon),
	PF_TEST(batch_soft_dirty_memfd),
	PF_TEST(batch_soft_dirty_dirty_log),
	PF_TEST(batch_numa_hinting),
	{ }
};
