// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY as seen through its tracepoint.
 */
#define _GNU_SOURCE
#include "../pre_fault.h"

#define NR_PAGES	16
#define SIZE		(NR_PAGES * PAGE_SIZE)

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
	/* The event has the errno even if a partial call returns success. */
	expect_event(&text, TEST_GPA + PAGE_SIZE, SIZE, SIZE - PAGE_SIZE, ENOENT);
	expect_event(&text, TEST_GPA + SIZE, PAGE_SIZE, 0, ENOENT);
	TEST_ASSERT(!strstr(text, "kvm_pre_fault_memory:"), "one event too many");
}

const struct pf_test pf_tracepoint_tests[] = {
	PF_TEST(tracepoint),
	{ }
};
