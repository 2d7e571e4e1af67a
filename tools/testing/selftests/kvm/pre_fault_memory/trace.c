// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY as seen through tracepoints: its own, and the MMU's,
 * which shows the SPTEs.
 */
#define _GNU_SOURCE
#include "pre_fault_memory.h"

#define NR_PAGES	16
#define SIZE		(NR_PAGES * PAGE_SIZE)

/* The Accessed bit of a leaf SPTE, and what it takes to be present in EPT */
#define NPT_ACCESSED	BIT_ULL(5)
#define EPT_ACCESSED	BIT_ULL(8)
#define EPT_RWX		GENMASK_ULL(2, 0)

static void expect_event(char **text, uint64_t gpa, uint64_t size,
			 uint64_t done, int err)
{
	static const char name[] = "kvm_pre_fault_memory:";
	unsigned long long got_gpa, got_size, got_done;
	int got_err;
	char *event;

	event = strstr(*text, name);
	TEST_ASSERT(event, "no event for gpa %#lx, size %#lx", gpa, size);
	*text = event + strlen(name);
	TEST_ASSERT(sscanf(*text, " gpa 0x%llx size 0x%llx done 0x%llx errno %d",
			   &got_gpa, &got_size, &got_done, &got_err) == 4,
		    "can't read event '%.80s'", event);
	TEST_ASSERT(got_gpa == gpa && got_size == size && got_done == done &&
		    got_err == -err,
		    "gpa %#llx size %#llx done %#llx errno %d, expected gpa %#lx size %#lx done %#lx errno %d",
		    got_gpa, got_size, got_done, got_err, gpa, size, done, -err);
}

static void tracepoint(void)
{
	static const char * const events[] = { "kvm/kvm_pre_fault_memory", NULL };
	struct kvm_vcpu *vcpu = pf_raw_vcpu();
	char *text;

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, SIZE,
				  pf_mem(PF_ANON, SIZE, 0));
	pf_trace_start(events, 0);
	pf_map(vcpu, TEST_GPA, SIZE);
	pf_expect(vcpu, TEST_GPA + PAGE_SIZE, SIZE, 0, SIZE - PAGE_SIZE);
	pf_expect(vcpu, TEST_GPA + SIZE, PAGE_SIZE, ENOENT, 0);
	text = pf_trace_stop();

	expect_event(&text, TEST_GPA, SIZE, SIZE, 0);
	/* The trace tells what stopped a call that did something, too. */
	expect_event(&text, TEST_GPA + PAGE_SIZE, SIZE, SIZE - PAGE_SIZE, ENOENT);
	expect_event(&text, TEST_GPA + SIZE, PAGE_SIZE, 0, ENOENT);
	TEST_ASSERT(!strstr(text, "kvm_pre_fault_memory:"), "one event too many");
}

/* How many SPTEs a line of the trace tells of, and what the first one is */
static unsigned int sptes_set(const char *line, unsigned long long *gfn,
			      unsigned long long *spte)
{
	const char *one = strstr(line, "kvm_mmu_set_spte: ");
	const char *batch = strstr(line, "kvm_mmu_pre_fault_batch: ");
	unsigned int nr;

	if (one && sscanf(one, "kvm_mmu_set_spte: gfn %llx spte %llx",
			  gfn, spte) == 2)
		return 1;
	if (batch && sscanf(strchr(batch, ' '),
			    " gfn %llx npages %*u installed %u spte %llx",
			    gfn, &nr, spte) == 3)
		return nr;
	return 0;
}

/* Nobody has accessed the page yet, and the SPTE says so. */
static void not_accessed(void)
{
	static const char * const events[] = { "kvmmmu", NULL };
	struct kvm_vcpu *vcpu = pf_raw_vcpu();
	unsigned long long gfn, spte, accessed;
	unsigned int n, nr = 0;
	char *text, *line;

	vm_set_user_memory_region(vcpu->vm, TEST_SLOT, 0, TEST_GPA, SIZE,
				  pf_mem(PF_ANON, SIZE, 0));
	pf_trace_start(events, 0);
	pf_map(vcpu, TEST_GPA, SIZE);
	text = pf_trace_stop();

	if (!is_intel_cpu())
		accessed = NPT_ACCESSED;
	else if (pf_has_accessed_bit())
		accessed = EPT_ACCESSED;
	else
		accessed = EPT_RWX;

	while ((line = strsep(&text, "\n"))) {
		n = sptes_set(line, &gfn, &spte);
		if (!n || gfn < TEST_GPA >> 12 || gfn >= (TEST_GPA + SIZE) >> 12)
			continue;

		TEST_ASSERT(!(spte & accessed), "the SPTE %#llx is Accessed",
			    spte);
		nr += n;
	}
	TEST_ASSERT(nr == NR_PAGES, "%u SPTEs set for %d pages", nr, NR_PAGES);
}

const struct pf_test pf_trace_tests[] = {
	PF_TEST(tracepoint),
	PF_TEST(not_accessed),
	{ }
};
