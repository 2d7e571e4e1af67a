// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY of memory that the host is about to drop.
 *
 * KVM's MMU notifiers are called one VM after the other, the newest first. A second VM,
 * older than the one under test, has mapped the memory with 4K pages. Until KVM has
 * zapped these, the host's page table still has the pages that are about to go.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "race.h"

#define NR_HUGE_TAIL	16
/* Below the program's text */
#define LOW_ADDRESS	((void *)0x10000)
#define LOW_PAGES	768

struct older_race {
	struct kvm_vcpu *vcpu;
	struct kvm_vcpu *older;
	/* The memory of the VM under test */
	void *mem;
	uint64_t gpa;
	size_t size;
	/* The part that is dropped, with more memory after it */
	size_t kept;
	size_t tail;
	/* After the tail, to take the page that was dropped first */
	size_t spare;
	bool dropped;
	/* The time that the last drop took */
	double drop_time;
	/* The number of pre-faults that began before the host had dropped the memory */
	unsigned int in_time;
};

static void dont_need(void *mem, size_t size)
{
	TEST_ASSERT(!madvise(mem, size, MADV_DONTNEED), "madvise(): errno %d", errno);
}

static void *drop(void *arg)
{
	struct older_race *r = arg;
	double start = pf_now();

	dont_need(r->mem + r->kept, r->size - r->kept + r->tail);
	WRITE_ONCE(r->dropped, true);
	r->drop_time = pf_now() - start;
	return NULL;
}

/*
 * Wait until KVM zaps mappings of the older VM. If KVM does not count these, guess the
 * time: the share of the drop that has passed grows from round to round.
 */
static void wait_for_zap(struct older_race *r, uint64_t mapped, double share)
{
	double end = pf_now() + share * r->drop_time;

	while (!READ_ONCE(r->dropped) &&
	       (pf_counts_mappings ? pf_stats(r->older).pages_4k == mapped :
				     pf_now() < end))
		;
	r->in_time += !READ_ONCE(r->dropped);
}

static void pre_fault_while_dropped(struct older_race *r, uint8_t seed, double share)
{
	const size_t rest = r->size - r->kept;
	pthread_t thread;
	uint64_t mapped;

	dont_need(r->mem + r->size + r->tail, r->spare);
	pf_fill(r->mem, r->gpa, r->size, seed);
	pf_fill(r->mem + r->size, 0, r->tail, 0);
	pf_map(r->older, TEST_GPA, rest + r->tail);
	mapped = pf_stats(r->older).pages_4k;

	/* Have no mapping in the VM under test. */
	pf_add_slot(r->vcpu->vm, TEST_SLOT, r->gpa, 0, NULL);
	pf_add_slot(r->vcpu->vm, TEST_SLOT, r->gpa, r->size, r->mem);

	WRITE_ONCE(r->dropped, false);
	thread = pf_thread(drop, r);
	wait_for_zap(r, mapped, share);
	pf_map(r->vcpu, r->gpa, r->size);
	pf_join(thread);

	/* Allocate the pages that were dropped for other contents first. */
	pf_fill(r->mem + r->size, 0, r->tail + r->spare, 0);
	pf_fill(r->mem + r->kept, r->gpa + r->kept, rest, seed + 1);

	pf_guest_check(r->vcpu, r->gpa, r->kept / PAGE_SIZE, seed);
	pf_guest_check(r->vcpu, r->gpa + r->kept, rest / PAGE_SIZE, seed + 1);
}

static void race_with_older_vm(struct older_race *r)
{
	unsigned int i, rounds = 30 * pf_rounds / 1000 + (pf_counts_mappings ? 1 : 8);

	r->older = pf_memory_vcpu(KVM_MEM_LOG_DIRTY_PAGES, r->mem + r->kept,
				  r->size - r->kept + r->tail);
	r->vcpu = pf_guest_vcpu();
	pf_add_slot(r->vcpu->vm, TEST_SLOT, r->gpa, r->size, r->mem);
	for (i = 0; i < rounds; i++)
		pre_fault_while_dropped(r, race_seed(2 * i), (double)i / rounds);
	pr_info("%u of %u pre-faults began in time\n", r->in_time, rounds);
}

/* The second of two huge pages is dropped. */
static void race_second_huge_page(enum pf_memory memory)
{
	struct older_race r = {
		.mem = pf_mem(memory, (3 + NR_HUGE_TAIL) * SZ_2M, 1),
		.gpa = TEST_GPA,
		.size = 2 * SZ_2M,
		.kept = SZ_2M,
		.tail = NR_HUGE_TAIL * SZ_2M,
		.spare = SZ_2M,
	};

	race_with_older_vm(&r);
}

static void race_second_thp(void)
{
	race_second_huge_page(PF_THP);
}

static void race_second_hugetlb(void)
{
	race_second_huge_page(PF_HUGETLB_2M);
}

/* The stage-2 page table begins at a gfn to which no hva corresponds. */
static void race_low_hva(void)
{
	struct older_race r = {
		.mem = LOW_ADDRESS,
		.gpa = TEST_GPA + SZ_2M - PAGE_SIZE,
		.size = PAGE_SIZE,
		.tail = (LOW_PAGES - 2) * PAGE_SIZE,
		.spare = PAGE_SIZE,
	};

	if (mmap(r.mem, LOW_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		 MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != r.mem)
		pf_skip("no memory at %p", r.mem);

	race_with_older_vm(&r);
}

const struct pf_test pf_race_older_vm_tests[] = {
	PF_TEST(race_second_thp),
	PF_TEST(race_second_hugetlb),
	PF_TEST(race_low_hva),
	{ }
};
