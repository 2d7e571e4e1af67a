// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fuzzer's checks of what is mapped, for architectures where KVM has no statistic of
 * that: count the guest's faults, and pre-fault again what is mapped.
 */
#define _GNU_SOURCE
#include "fuzz.h"

#define CALLS_PER_CHECK		256

static int fd = -1;
static bool counts_code;

void fz_faults_init(const char *filter)
{
	counts_code = !filter;
	fd = pf_open_faults(filter);
	if (fd < 0)
		ksft_print_msg("the guest's faults can't be counted: %s\n",
			       strerror(-fd));
}

uint64_t fz_nr_faults(void)
{
	return fd < 0 ? 0 : pf_read_faults(fd);
}

void fz_check_faults(struct fz_slot *slot, uint64_t gpa, bool write, uint64_t faults)
{
	enum fz_map map = fz_map_get(slot, slot->page + gpa / PAGE_SIZE - slot->gfn);

	if (fd < 0)
		return;
	if (counts_code && fz_map_get(&fz_vm.slots[FZ_CODE_SLOT], FZ_OWN) == FZ_NO)
		FZ_ASSERT(faults--, "no fault on the code, which is not mapped");

	FZ_ASSERT(map != FZ_NO || faults, "no fault on a page that is not mapped");
	FZ_ASSERT(!fz_is_mapped(map) || write || !faults,
		  "%lu faults on a page that is mapped as %u", faults, map);
}

uint64_t fz_pre_fault_again(uint64_t gfn, uint64_t npages)
{
	static const char * const name[] = { "pf_prefaulted" };
	struct fz_vcpu *vcpu = &fz_vm.vcpus[FZ_RUNNER];
	struct kvm_pre_fault_memory range = {
		.gpa = gfn * PAGE_SIZE,
		.size = npages * PAGE_SIZE,
	};
	uint64_t before = vcpu->prefaulted;

	FZ_ASSERT(!ioctl(vcpu->fd, KVM_PRE_FAULT_MEMORY, &range) && !range.size,
		  "pre-fault of gfn %#lx+%#lx: %s, %#llx left", gfn, npages,
		  strerror(errno), range.size);
	fz_read_stats(vcpu->stats_fd, name, 1, &vcpu->prefaulted);
	return vcpu->prefaulted - before;
}

static void check_slot(struct fz_slot *slot)
{
	uint64_t start = slot->page, end, new;
	const uint64_t last = slot->page + slot->npages;

	while (start < last && (start < FZ_PAGES || start >= FZ_OWN)) {
		for (end = start; end < last && fz_is_mapped(fz_map_get(slot, end)); end++)
			;
		if (end > start) {
			new = fz_pre_fault_again(slot->gfn + start - slot->page,
						 end - start);
			FZ_ASSERT(!new, "%lu pages of %#lx+%#lx in slot %u are not mapped",
				  new, start, end - start, slot->id);
		}
		start = end + 1;
	}
}

void fz_check_mapped(void)
{
	struct fz_slot *slot = fz_vm.slots;

	if (fz_nr_call % CALLS_PER_CHECK)
		return;

	for (; slot < fz_vm.slots + FZ_NR_SLOTS; slot++) {
		if (slot->used && !slot->doomed && slot->sure)
			check_slot(slot);
	}
}
