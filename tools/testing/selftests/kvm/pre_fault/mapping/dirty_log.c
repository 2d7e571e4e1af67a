// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY and dirty logging: pages are mapped read-only, at 4K. The log
 * has each page that the guest wrote once, and no other page, even if logging is
 * toggled during a pre-fault.
 */
#define _GNU_SOURCE
#include "mapping.h"
#include "pte_mix.h"

#define SMALL_SIZE	SZ_2M
#define SMALL_PAGES	(SMALL_SIZE / PAGE_SIZE)
#define NR_PAGES	1536
#define SIZE		(NR_PAGES * PAGE_SIZE)
#define NR_WORDS	(NR_PAGES / 64)
#define BYTES(pages)	((pages) * PAGE_SIZE)
#define RING_BYTES	65536
#define NR_ROUNDS	20

/* Shift the memory by a page, so that hva and gpa are not congruent. */
#define SHIFT		BYTES(1)

struct log {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	void *mem;
	/* The log is cleared explicitly (KVM_CLEAR_DIRTY_LOG). */
	bool manual;
	uint64_t npages;
	/* The seed of the guest's current or last writes */
	uint8_t plan[NR_PAGES];
};

static void set_flags(struct log *log, uint32_t flags)
{
	vm_set_user_memory_region(log->vm, TEST_SLOT, flags, TEST_GPA,
				  BYTES(log->npages), log->mem);
}

static uint64_t make_plan(struct log *log, unsigned int step, unsigned int first,
			  uint8_t seed)
{
	uint64_t i, nr = 0;

	memset(log->plan, PF_SKIP, sizeof(log->plan));
	for (i = first; i < log->npages; i += step, nr++)
		log->plan[i] = seed;
	pf_plan(log->vcpu, log->plan, log->npages);
	return nr;
}

static void check_log(struct log *log)
{
	uint64_t bitmap[NR_WORDS] = {}, i;

	kvm_vm_get_dirty_log(log->vm, TEST_SLOT, bitmap);
	for (i = 0; i < log->npages; i++) {
		bool dirty = bitmap[i / 64] >> (i % 64) & 1;

		TEST_ASSERT(dirty == !!log->plan[i], "page %lu is %sdirty", i,
			    dirty ? "" : "not ");
	}
	if (log->manual)
		kvm_vm_clear_dirty_log(log->vm, TEST_SLOT, bitmap, 0,
				       log->npages);
}

static void log_init(struct log *log, void *mem, uint64_t npages, uint32_t flags)
{
	log->npages = npages;
	log->mem = mem;
	log->vcpu = pf_memory_vcpu(flags, mem, BYTES(npages));
	log->vm = log->vcpu->vm;
}

/* Check that the log has no page. */
static void check_log_empty(struct log *log)
{
	memset(log->plan, PF_SKIP, sizeof(log->plan));
	check_log(log);
}

/* Check that the log has this page only. */
static void check_log_page(struct log *log, unsigned int page)
{
	memset(log->plan, PF_SKIP, sizeof(log->plan));
	log->plan[page] = 1;
	check_log(log);
}

static void check_dirty_log(enum pf_memory memory)
{
	struct log log = {};
	struct kvm_vcpu *vcpu;
	struct pf_stats d;

	log_init(&log, pf_mem(memory, SMALL_SIZE, 1), SMALL_PAGES,
		 KVM_MEM_LOG_DIRTY_PAGES);
	vcpu = log.vcpu;
	pf_map_pages(vcpu, TEST_GPA, SMALL_SIZE, SMALL_PAGES);
	check_log_empty(&log);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, SMALL_PAGES, 1, SMALL_PAGES);
	check_log_empty(&log);

	/* SPTEs are read-only: the first write to a page faults. */
	d = pf_guest_stats(vcpu, PF_WRITE, TEST_GPA + BYTES(3), 1, 1);
	TEST_ASSERT(d.taken == 1, "%lu faults for the first write", d.taken);
	check_log_page(&log, 3);

	/* After the log was cleared, a pre-fault again does not dirty pages. */
	pf_map(vcpu, TEST_GPA, SMALL_SIZE);
	check_log_empty(&log);
	pf_guest(vcpu, PF_WRITE, TEST_GPA + BYTES(3), 1, 1);
	check_log_page(&log, 3);
	pf_guest_check(vcpu, TEST_GPA, SMALL_PAGES, 1);
}

static void dirty_log_4k(void)
{
	check_dirty_log(PF_ANON);
}

static void dirty_log_thp(void)
{
	check_dirty_log(PF_THP);
}

static void dirty_log_memfd(void)
{
	check_dirty_log(PF_MEMFD);
}

/* Enable dirty logging after pages were mapped writable, with 2M. */
static void dirty_log_enabled_later(void)
{
	struct log log = {};

	log_init(&log, pf_mem(pf_huge, SMALL_SIZE, 1), SMALL_PAGES, 0);
	pf_map(log.vcpu, TEST_GPA, SMALL_SIZE);
	set_flags(&log, KVM_MEM_LOG_DIRTY_PAGES);
	pf_map(log.vcpu, TEST_GPA, SMALL_SIZE);
	check_log_empty(&log);
	pf_guest_check(log.vcpu, TEST_GPA, SMALL_PAGES, 1);
	pf_guest(log.vcpu, PF_WRITE, TEST_GPA + BYTES(9), 1, 1);
	check_log_page(&log, 9);
}

/* A page the guest has dirtied stays dirty and writable. */
static void dirty_log_keeps_dirty(void)
{
	struct log log = {};

	log_init(&log, pf_mem(PF_ANON, SMALL_SIZE, 1), SMALL_PAGES,
		 KVM_MEM_LOG_DIRTY_PAGES);
	pf_guest(log.vcpu, PF_WRITE, TEST_GPA + BYTES(4), 1, 1);
	pf_map(log.vcpu, TEST_GPA, SMALL_SIZE);
	pf_guest_no_fault(log.vcpu, PF_WRITE, TEST_GPA + BYTES(4), 1, 1, 0);
	check_log_page(&log, 4);
}

static struct kvm_vcpu *ring_vcpu(void)
{
	struct kvm_vm *vm = vm_create(1);
	struct kvm_vcpu *vcpu;

	if (!vm_check_cap(vm, KVM_CAP_DIRTY_LOG_RING) &&
	    !vm_check_cap(vm, KVM_CAP_DIRTY_LOG_RING_ACQ_REL))
		pf_skip("no dirty ring");

	vm_enable_dirty_ring(vm, RING_BYTES);
	vcpu = vm_vcpu_add(vm, 0, pf_guest_main);
	kvm_arch_vm_finalize_vcpus(vm);
	pf_guest_map(vm);
	vcpu_args_set(vcpu, 1, 0ul);
	vcpu_run(vcpu);
	pf_guest_finish(vcpu);
	return vcpu;
}

static void dirty_ring(void)
{
	struct kvm_vcpu *vcpu = ring_vcpu();
	struct kvm_dirty_gfn *ring = vcpu_map_dirty_ring(vcpu);

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, KVM_MEM_LOG_DIRTY_PAGES,
				  TEST_GPA, SMALL_SIZE,
				  pf_mem(PF_THP, SMALL_SIZE, 1));
	pf_map_pages(vcpu, TEST_GPA, SMALL_SIZE, SMALL_PAGES);
	pf_guest_no_fault(vcpu, PF_READ, TEST_GPA, SMALL_PAGES, 1, SMALL_PAGES);
	TEST_ASSERT(!READ_ONCE(ring[0].flags),
		    "page %llu of slot %u was pushed to the ring",
		    ring[0].offset, ring[0].slot);

	pf_guest(vcpu, PF_WRITE, TEST_GPA + BYTES(6), 1, 1);
	TEST_ASSERT(READ_ONCE(ring[0].flags) == KVM_DIRTY_GFN_F_DIRTY &&
		    ring[0].slot == TEST_SLOT && ring[0].offset == 6,
		    "flags %#x, slot %u, page %llu for a write to page 6",
		    ring[0].flags, ring[0].slot, ring[0].offset);
	TEST_ASSERT(!READ_ONCE(ring[1].flags), "page %llu was pushed, too",
		    ring[1].offset);
}

/* Let the guest write by a plan, and check the log and the memory. */
static void write_and_check(struct log *log, unsigned int step,
			    unsigned int first, uint8_t seed)
{
	uint64_t nr = make_plan(log, step, first, seed), i;
	struct pf_stats d;

	d = pf_guest_stats(log->vcpu, PF_WRITE_PLAN, TEST_GPA, NR_PAGES, 0);
	TEST_ASSERT(d.taken == nr, "%lu faults for %lu first writes", d.taken,
		    nr);
	for (i = first; i < NR_PAGES; i += step)
		TEST_ASSERT(pf_page_is(log->mem + BYTES(i), TEST_GPA + BYTES(i),
				       seed), "page %lu: write lost", i);
	check_log(log);
	check_log_empty(log);
}

static void check_logging(struct log *log)
{
	pf_map_pages(log->vcpu, TEST_GPA, SIZE, NR_PAGES);
	check_log_empty(log);
	pf_guest_no_fault(log->vcpu, PF_READ, TEST_GPA, NR_PAGES, 1, NR_PAGES);
	check_log_empty(log);

	write_and_check(log, 3, 0, 2);
	/* Write to some of them again, which are read-only again. */
	pf_map_pages(log->vcpu, TEST_GPA, SIZE, 0);
	check_log_empty(log);
	write_and_check(log, 5, 1, 3);
	write_and_check(log, 1, 0, 4);

	/* Without the log, the guest's writes do not fault. */
	set_flags(log, 0);
	pf_map(log->vcpu, TEST_GPA, SIZE);
	pf_guest(log->vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 5);
	pf_guest_no_fault(log->vcpu, PF_WRITE, TEST_GPA, NR_PAGES, 6, 0);
	pf_guest_check(log->vcpu, TEST_GPA, NR_PAGES, 6);
}

static void check_writes(enum pf_memory memory)
{
	struct log log = {};

	log_init(&log, pf_mem(memory, SIZE, 1), NR_PAGES,
		 KVM_MEM_LOG_DIRTY_PAGES);
	check_logging(&log);
}

static void dirty_log_writes_anon(void)
{
	check_writes(PF_ANON);
}

static void dirty_log_writes_memfd(void)
{
	check_writes(PF_MEMFD);
}

static void dirty_log_writes_thp(void)
{
	check_writes(PF_THP);
}

static void dirty_log_writes_hugetlb(void)
{
	check_writes(PF_HUGETLB_2M);
}

static void dirty_log_writes_incongruent_thp(void)
{
	void *mem = pf_mem(PF_THP, SIZE + SZ_2M, 1) + SHIFT;
	struct log log = {};

	pf_fill(mem, TEST_GPA, SIZE, 1);
	log_init(&log, mem, NR_PAGES, KVM_MEM_LOG_DIRTY_PAGES);
	check_logging(&log);
}

/* All pages are dirty at first, and not write-protected before they are cleared. */
static void dirty_log_manual(void)
{
	int caps = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE |
		   KVM_DIRTY_LOG_INITIALLY_SET;
	struct log log = { .manual = true };

	if ((kvm_check_cap(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) & caps) != caps)
		pf_skip("no KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2");
	log_init(&log, pf_mem(PF_ANON, SIZE, 1), NR_PAGES, 0);
	vm_enable_cap(log.vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, caps);
	set_flags(&log, KVM_MEM_LOG_DIRTY_PAGES);
	make_plan(&log, 1, 0, 1);
	check_log(&log);
	check_logging(&log);
}

static void write_random(struct log *log, uint8_t seed)
{
	uint64_t nr = make_plan(log, 3 + random() % 14, random() % 7, seed), i;

	pf_guest(log->vcpu, PF_WRITE_PLAN, TEST_GPA, NR_PAGES, 0);
	pf_guest(log->vcpu, PF_READ_PLAN, TEST_GPA, NR_PAGES, 0);
	for (i = 0; i < NR_PAGES; i++)
		TEST_ASSERT(log->plan[i] == PF_SKIP ||
			    pf_page_is(log->mem + BYTES(i), TEST_GPA + BYTES(i),
				       seed), "page %lu of %lu: write lost",
			    i, nr);
}

/*
 * Another vCPU pre-faults in a loop. Each page that the guest writes to while logging is
 * enabled has to be in exactly one log.
 */
static void check_toggling(enum pf_memory memory)
{
	double end = pf_now() + 6.0 * pf_slowness;
	struct pf_loop loop = { .gpa = TEST_GPA, .size = SIZE };
	unsigned int round, nr = 100 * pf_rounds / 1000 + 1, i;
	struct kvm_vcpu *vcpus[2];
	struct log log = {
		.npages = NR_PAGES,
		.vm = pf_guest_vm(2, vcpus),
		.vcpu = vcpus[0],
		.mem = pf_mem(memory, SIZE, 1),
	};

	srandom(pf_seed);
	pr_info("-S %u repeats the same writes\n", pf_seed);
	set_flags(&log, 0);
	loop.vcpu = vcpus[1];
	pf_loop_start(&loop);

	for (round = 0; round < nr && (round < 3 || pf_now() < end); round++) {
		/* Written already, or mapped anew, when it begins */
		if (round % 2)
			write_random(&log, 200);
		else
			madvise(log.mem, SIZE / 2, MADV_DONTNEED);
		set_flags(&log, KVM_MEM_LOG_DIRTY_PAGES);
		for (i = 0; i < 3; i++) {
			write_random(&log, 1 + round % 100 + i);
			check_log(&log);
		}
		set_flags(&log, 0);
		write_random(&log, 201);
	}

	pf_loop_stop(&loop);
	pf_loop_report(&loop, round);
}

static void dirty_log_toggle_anon(void)
{
	check_toggling(PF_ANON);
}

static void dirty_log_toggle_thp(void)
{
	check_toggling(PF_THP);
}

struct parallel_write {
	struct log *log;
	unsigned int round;
};

static void write_all(void *arg)
{
	struct parallel_write *write = arg;

	pf_guest(write->log->vcpu, PF_WRITE, TEST_GPA, NR_PAGES, write->round);
}

/* No write of the guest is lost to a pre-fault that maps read-only. */
static void dirty_log_parallel_with_guest(void)
{
	struct log log = { .mem = pf_mem(PF_ANON, SIZE, 1), .npages = NR_PAGES };
	struct parallel_write write = { .log = &log };
	struct kvm_vcpu *vcpus[2];
	struct pf_mapper m;

	log.vm = pf_guest_vm(2, vcpus);
	log.vcpu = vcpus[0];
	set_flags(&log, KVM_MEM_LOG_DIRTY_PAGES);

	for (write.round = 0; write.round < NR_ROUNDS; write.round++) {
		if (write.round & 1) {
			vm_set_user_memory_region(log.vm, TEST_SLOT, 0, TEST_GPA, 0,
						  NULL);
			set_flags(&log, KVM_MEM_LOG_DIRTY_PAGES);
		}
		m = (struct pf_mapper) { vcpus[1], TEST_GPA, SIZE };
		pf_mappers_run(&m, 1, write_all, &write);

		memset(log.plan, 1, sizeof(log.plan));
		check_log(&log);
		pf_guest_check(log.vcpu, TEST_GPA, NR_PAGES, write.round);
	}
}

/* Other subjects in a slot with dirty logging */
static void dirty_log_uffd_wp(void)
{
	mapping_check_uffd_wp(PF_ANON, KVM_MEM_LOG_DIRTY_PAGES, false);
}

static void dirty_log_ksm(void)
{
	mapping_check_ksm(KVM_MEM_LOG_DIRTY_PAGES);
}

static void dirty_log_soft_dirty(void)
{
	mapping_check_soft_dirty(PF_ANON, KVM_MEM_LOG_DIRTY_PAGES);
}

static void dirty_log_pte_mix_file(void)
{
	pte_mix_check_dirty_log(&pte_mix_file_memory);
}

static void dirty_log_pte_mix_fork(void)
{
	pte_mix_check_dirty_log(&pte_mix_fork_memory);
}

static void dirty_log_pte_mix_swap(void)
{
	pte_mix_check_dirty_log(&pte_mix_swap_memory);
}

static void dirty_log_pte_mix_memfd(void)
{
	pte_mix_check_dirty_log(&pte_mix_memfd_memory);
}

const struct pf_test pf_dirty_log_tests[] = {
	PF_TEST(dirty_log_4k),
	PF_TEST(dirty_log_thp),
	PF_TEST(dirty_log_memfd),
	PF_TEST(dirty_log_enabled_later),
	PF_TEST(dirty_log_keeps_dirty),
	PF_TEST(dirty_ring),
	PF_TEST(dirty_log_parallel_with_guest),
	PF_TEST_BATCH(dirty_log_writes_anon),
	PF_TEST_BATCH(dirty_log_writes_memfd),
	PF_TEST_BATCH(dirty_log_writes_thp),
	PF_TEST_BATCH(dirty_log_writes_hugetlb),
	PF_TEST_BATCH(dirty_log_writes_incongruent_thp),
	PF_TEST_BATCH(dirty_log_manual),
	PF_TEST_BATCH(dirty_log_toggle_anon),
	PF_TEST_BATCH(dirty_log_toggle_thp),
	PF_TEST_BATCH(dirty_log_uffd_wp),
	PF_TEST_BATCH(dirty_log_ksm),
	PF_TEST_BATCH(dirty_log_soft_dirty),
	PF_TEST_BATCH(dirty_log_pte_mix_file),
	PF_TEST_BATCH(dirty_log_pte_mix_fork),
	PF_TEST_BATCH(dirty_log_pte_mix_swap),
	PF_TEST_BATCH(dirty_log_pte_mix_memfd),
	{ }
};
