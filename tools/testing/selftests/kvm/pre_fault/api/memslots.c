// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY and memslots: where one ends and meets the next, read-only
 * ones, and one that is deleted or moved at this moment, for which a call that waits
 * for userfaultfd holds the update up.
 */
#define _GNU_SOURCE
#include <signal.h>

#include "../pre_fault.h"

#define NR_PAGES	16
#define SIZE		(NR_PAGES * PAGE_SIZE)
#define MANY_SIZE	(1536 * PAGE_SIZE)
#define BYTES(pages)	((pages) * PAGE_SIZE)
#define PATIENCE	10

/* Memory of one memslot next to the other's, in the opposite order of hva. */
static void slot_boundary(void)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	void *mem = pf_mem(PF_ANON, 3 * SIZE, 0);
	unsigned int i;

	for (i = 0; i < 3; i++) {
		pf_fill(mem + (2 - i) * SIZE, TEST_GPA + i * SIZE, SIZE, 4);
		pf_add_slot(vcpu->vm, TEST_SLOT + i, TEST_GPA + i * SIZE, SIZE,
			    mem + (2 - i) * SIZE);
	}

	pf_map(vcpu, TEST_GPA, 3 * SIZE);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, 3 * NR_PAGES, 4,
			  3 * NR_PAGES);
}

/* An invalidation zaps SPTEs that have nothing mapped for 1M before them. */
static void unmapped_behind_gap(void)
{
	const uint64_t gpa = TEST_GPA + SZ_2M;
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	void *mem = pf_mem(PF_ANON, SZ_2M, 0);

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, gpa - SZ_2M / 2, SZ_2M,
				  mem);
	pf_map(vcpu, gpa, SIZE);
	TEST_ASSERT(!madvise(mem, SZ_2M, MADV_DONTNEED), "madvise()");
	pf_fill(mem + SZ_2M / 2, gpa, SIZE, 1);
	pf_guest_check(vcpu, gpa, NR_PAGES, 1);
}

/* A huge page does not reach beyond its memslot. */
static void slot_boundary_in_huge_page(void)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	void *mem = pf_mem(PF_THP, SZ_2M, 5);
	struct pf_stats before, d;

	pf_add_slot(vcpu->vm, TEST_SLOT, TEST_GPA + SIZE, SIZE, mem + SIZE);

	before = pf_stats(vcpu);
	pf_expect(vcpu, TEST_GPA, SZ_2M, ENOENT, 0);
	pf_expect(vcpu, TEST_GPA + SIZE, SZ_2M, 0, SIZE);
	pf_expect(vcpu, TEST_GPA + 2 * SIZE, SIZE, ENOENT, 0);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(pf_prefaulted(&d, NR_PAGES) && pf_mapped(&d, NR_PAGES, 0),
		    "%lu pages pre-faulted, mapped %lu of 4K, %lu of 2M",
		    d.prefaulted, d.pages_4k, d.pages_2m);
}

/* The guest's write to a page in a read-only memslot goes to userspace. */
static void check_write_exits(struct kvm_vcpu *vcpu, uint64_t gpa)
{
	struct kvm_run *run = vcpu->run;

	pf_guest_start(vcpu, PF_WRITE, gpa, 1, 9);
	TEST_ASSERT(pf_guest_mmio(vcpu), "exit reason %d", run->exit_reason);
	TEST_ASSERT(run->mmio.phys_addr == gpa && run->mmio.is_write,
		    "MMIO at %#llx", run->mmio.phys_addr);
	while (pf_guest_mmio(vcpu))
		vcpu_run(vcpu);
	pf_guest_finish(vcpu);
}

static void readonly_slot(void)
{
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	void *mem = pf_mem(PF_ANON, SIZE, 7);
	struct pf_stats before, d;

	if (!vm_check_cap(vcpu->vm, KVM_CAP_READONLY_MEM))
		pf_skip("no read-only memslots");

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, KVM_MEM_READONLY,
				  TEST_GPA, SIZE, mem);
	before = pf_stats(vcpu);
	pf_map(vcpu, TEST_GPA, SIZE);
	d = pf_stats_since(vcpu, &before);
	TEST_ASSERT(pf_prefaulted(&d, NR_PAGES) && pf_mapped(&d, NR_PAGES, 0),
		    "%lu pages pre-faulted, %lu mapped", d.prefaulted,
		    d.pages_4k);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, NR_PAGES, 7, NR_PAGES);

	check_write_exits(vcpu, TEST_GPA);
	pf_guest_check(vcpu, TEST_GPA, NR_PAGES, 7);
}

/*
 * Memslots that meet within page tables, and a hole: what lies behind in the
 * VMM's memory is another page each time.
 */
static void slot_boundaries_in_page_table(void)
{
	static const struct {
		uint64_t first;
		uint64_t nr;
		uint64_t hva_page;
		uint32_t flags;
	} slots[] = {
		{ 0, 100, 700, 0 },
		{ 100, 200, 0, KVM_MEM_READONLY },
		{ 300, 300, 1000, 0 },
		{ 601, 400, 200, 0 },
	};
	struct kvm_vcpu *vcpu = pf_guest_vcpu();
	void *mem = pf_mem(PF_ANON, MANY_SIZE, 7);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(slots); i++) {
		uint64_t gpa = TEST_GPA + BYTES(slots[i].first);
		void *hva = mem + BYTES(slots[i].hva_page);

		pf_fill(hva, gpa, BYTES(slots[i].nr), 1);
		vm_set_user_memory_region(vcpu->vm, TEST_SLOT + i,
					  slots[i].flags, gpa,
					  BYTES(slots[i].nr), hva);
	}

	pf_expect_pages(vcpu, TEST_GPA, MANY_SIZE, 0, BYTES(600), 600);
	pf_expect_pages(vcpu, TEST_GPA + BYTES(600), MANY_SIZE, ENOENT, 0, 0);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, 600, 1, 600);
	pf_expect_pages(vcpu, TEST_GPA + BYTES(601), MANY_SIZE, 0, BYTES(400), 400);
	pf_expect_pages(vcpu, TEST_GPA + BYTES(1001), MANY_SIZE, ENOENT, 0, 0);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA + BYTES(601), 400, 1, 400);

	pf_guest_no_fault(vcpu, PF_WRITE, TEST_GPA, 100, 1, 100);
	pf_guest_no_fault(vcpu, PF_WRITE, TEST_GPA + BYTES(300), 300, 1,
			  300);
	check_write_exits(vcpu, TEST_GPA + BYTES(100));
	check_write_exits(vcpu, TEST_GPA + BYTES(299));
	pf_guest_check(vcpu, TEST_GPA, 600, 1);
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
 * One vCPU's pre-fault waits for a page, which delays the update of the memslot.
 * Meanwhile another vCPU finds the memslot invalid.
 */
static void check_eagain(bool move)
{
	struct kvm_vcpu *vcpu = pf_raw_vcpu(), *other;
	struct blocked b = {
		.vcpu = vcpu,
		.range = { .gpa = TEST_GPA, .size = PAGE_SIZE },
		.new_gpa = move ? TEST_GPA + 4 * SIZE : TEST_GPA,
		.new_size = move ? SIZE : 0,
		.mem = pf_mem(PF_ANON_NEW, SIZE, 0),
	};
	struct kvm_pre_fault_memory range;
	pthread_t blocker, updater;
	struct pf_uffd_server s = { .mem = b.mem };
	struct pf_stats before, d;
	uint64_t gpa = TEST_GPA + PAGE_SIZE;
	void *page;
	int ret;

	other = __vm_vcpu_add(vcpu->vm, 1);
	pf_arch_vcpu_init(other);
	vm_set_user_memory_region(vcpu->vm, TEST_SLOT2, 0, TEST_GPA - SIZE, SIZE,
				  pf_mem(PF_ANON, SIZE, 0));
	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, SIZE, b.mem);
	pf_fill(b.mem + PAGE_SIZE, TEST_GPA + PAGE_SIZE, SIZE - PAGE_SIZE, 1);

	pf_uffd_server_open(&s, PAGE_SIZE);
	blocker = pf_thread(block_fn, &b);
	page = pf_uffd_wait(s.fd);
	updater = pf_thread(update_slot_fn, &b);

	/* Have a call that does not end by itself interrupted. */
	pf_catch(SIGALRM);
	alarm(PATIENCE * pf_slowness);
	/* KVM may find a page mapped without a look at the memslot: go on with the next. */
	for (;; gpa += PAGE_SIZE) {
		range = (struct kvm_pre_fault_memory) {
			.gpa = gpa,
			.size = PAGE_SIZE,
		};
		ret = pf_call(other, &range);
		if (ret)
			break;
		TEST_ASSERT(gpa + 3 * PAGE_SIZE < TEST_GPA + SIZE,
			    "the memslot never was on its way");
		usleep(50000 * pf_slowness);
	}
	TEST_ASSERT(ret == EAGAIN, "errno %d (%s)", ret, strerror(ret));

	before = pf_stats(other);
	pf_expect(other, gpa, PAGE_SIZE, EAGAIN, 0);
	pf_expect(other, gpa + PAGE_SIZE, SIZE, EAGAIN, 0);
	pf_expect(other, TEST_GPA - SIZE, 2 * SIZE, 0, SIZE);
	d = pf_stats_since(other, &before);
	TEST_ASSERT(pf_prefaulted(&d, NR_PAGES), "%lu pages pre-faulted",
		    d.prefaulted);

	pf_uffd_serve_page(&s, page);
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
	struct pf_uffd_server s = { .mem = pf_mem(PF_ANON_NEW, SIZE, 0) };
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
	pf_uffd_server_open(&s, SIZE);

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

	pf_uffd_serve_page(&s, pages[0]);
	pf_join(blockers[0]);
	wait_unmapped(vcpus[0]);
	pf_uffd_serve_page(&s, pages[1]);

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

const struct pf_test pf_memslot_tests[] = {
	PF_TEST(slot_boundary),
	PF_TEST(unmapped_behind_gap),
	PF_TEST(slot_boundary_in_huge_page),
	PF_TEST(readonly_slot),
	PF_TEST_BATCH(slot_boundaries_in_page_table),
	PF_TEST(eagain_memslot_delete),
	PF_TEST(eagain_memslot_move),
	PF_TEST(other_memslot_deleted),
	{ }
};
