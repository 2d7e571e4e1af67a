// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fuzzer's memslots.
 */
#define _GNU_SOURCE
#include "fuzz.h"

struct fz_slot *fz_random_slot(void)
{
	unsigned int i, start = fz_below(FZ_NR_SLOTS);

	for (i = 0; i < FZ_NR_SLOTS; i++) {
		struct fz_slot *slot = &fz_vm.slots[(start + i) % FZ_NR_SLOTS];

		if (slot->used)
			return slot;
	}

	return NULL;
}

/* Return the gfn of a host page in the first slot that has it, or -1. */
uint64_t fz_gfn_of_page(uint64_t page)
{
	struct fz_slot *slot = fz_vm.slots;

	for (; slot < fz_vm.slots + FZ_NR_SLOTS; slot++) {
		if (slot->used && page >= slot->page &&
		    page - slot->page < slot->npages)
			return slot->gfn + page - slot->page;
	}

	return -1ul;
}

int __fz_slot_set(const struct fz_slot *slot, uint64_t npages)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot->as << 16 | slot->id,
		.flags = slot->flags,
		.guest_phys_addr = slot->gfn * PAGE_SIZE,
		.memory_size = npages * PAGE_SIZE,
		.userspace_addr = (uintptr_t)fz_host.mem + slot->page * PAGE_SIZE,
	};

	return ioctl(fz_vm.fd, KVM_SET_USER_MEMORY_REGION, &region) ? errno : 0;
}

void fz_slot_set(const struct fz_slot *slot, uint64_t npages)
{
	int err = __fz_slot_set(slot, npages);

	FZ_ASSERT(!err, "KVM_SET_USER_MEMORY_REGION: slot %u:%u at %#lx+%#lx, flags %u: %s",
		  slot->as, slot->id, slot->gfn, npages, slot->flags,
		  strerror(err));
}

/* Return false if KVM refuses the slot, as expected. */
static bool try_slot_set(const struct fz_slot *slot)
{
	int err = __fz_slot_set(slot, slot->npages);

	FZ_ASSERT(err == fz_arch_slot_errno(slot),
		  "KVM_SET_USER_MEMORY_REGION: slot %u:%u at %#lx+%#lx, flags %u: %s",
		  slot->as, slot->id, slot->gfn, slot->npages, slot->flags, strerror(err));
	return !err;
}

/* Return the highest gfn that KVM accepts and can map. */
static uint64_t max_gfn(void)
{
	return (1ul << (fz_facts.slot_bits - 12)) - 1;
}

/* Return a place for a slot: next to another slot, or at a special address. */
static uint64_t random_gfn(uint64_t npages)
{
	static const uint64_t places[] = {
		0, 0x100, 0x8000, 0xdfff0, 0xfec00, 0xfee00, 0x100000, 0x200000,
		0x4000000,
	};
	struct fz_slot *near = fz_random_slot();
	uint64_t gfn;

	switch (fz_below(4)) {
	case 0:
		gfn = places[fz_below(ARRAY_SIZE(places))] + fz_below(32);
		break;
	case 1:
		gfn = max_gfn() + 1 - npages - fz_below(3);
		break;
	case 2:
		gfn = fz_below(1ul << (4 + fz_below(fz_facts.phys_bits - 16)));
		break;
	default:
		gfn = near->gfn + near->npages + fz_below(3);
		if (fz_chance(30))
			gfn = near->gfn - npages - fz_below(3);
		break;
	}

	return gfn;
}

static bool place(struct fz_slot *slot)
{
	unsigned int tries;
	uint64_t gfn;

	for (tries = 0; tries < 8; tries++) {
		gfn = random_gfn(slot->npages);
		/* Congruent, for huge pages */
		if (fz_chance(60))
			gfn += (slot->page - gfn) % FZ_BLOCK;
		if (gfn <= max_gfn() && slot->npages <= max_gfn() - gfn + 1 &&
		    fz_slot_is_free(slot->as, gfn, slot->npages, NULL)) {
			slot->gfn = gfn;
			return true;
		}
	}

	return false;
}

static void create_slot(struct fz_slot *slot)
{
	uint64_t page, npages;

	npages = fz_chance(45) ? 1 + fz_below(16) :
		 fz_chance(80) ? 1 + fz_below(2 * FZ_BLOCK) :
				 1 + fz_below(FZ_WINDOW);
	page = fz_below(FZ_WINDOW);
	if (fz_chance(40)) {
		page &= ~(FZ_BLOCK - 1ul);
		npages = fz_below(2) ? npages : FZ_BLOCK * (1 + fz_below(4));
	}
	/* A huge slot over little memory */
	if (fz_chance(5)) {
		page = FZ_WINDOW + fz_below(FZ_SPARSE / 2);
		npages = 1 + fz_below(FZ_SPARSE / 2);
		if (fz_below(2))
			page = FZ_WINDOW + fz_below(FZ_SPARSE_FILE);
	}
	if (page < FZ_WINDOW)
		npages = min(npages, FZ_PAGES + FZ_SPARSE_FILE - page);

	slot->as = fz_facts.smm && fz_chance(25);
	slot->page = page;
	slot->npages = npages;
	slot->flags = fz_chance(30) ? KVM_MEM_READONLY : 0;
	slot->flags |= fz_chance(30) ? KVM_MEM_LOG_DIRTY_PAGES : 0;
	if (!place(slot))
		return;

	fz_note("slot %u:%u created at gfn %#lx+%#lx, page %#lx, flags %u",
		slot->as, slot->id, slot->gfn, npages, page, slot->flags);
	slot->used = try_slot_set(slot);
}

void fz_slot_deleted(struct fz_slot *slot)
{
	fz_arch_slot_gone(slot);
	slot->used = false;
	slot->doomed = false;
	slot->invalid = false;
}

static void toggle_dirty_log(struct fz_slot *slot)
{
	slot->flags ^= KVM_MEM_LOG_DIRTY_PAGES;
	fz_note("slot %u:%u flags %u", slot->as, slot->id, slot->flags);
	if (try_slot_set(slot))
		fz_arch_dirty_log_changed(slot);
	else
		slot->flags ^= KVM_MEM_LOG_DIRTY_PAGES;
}

static void move_slot(struct fz_slot *slot)
{
	const uint64_t gfn = slot->gfn;

	if (!place(slot))
		return;

	fz_note("slot %u:%u moved to gfn %#lx", slot->as, slot->id, slot->gfn);
	if (!try_slot_set(slot))
		slot->gfn = gfn;
	/* KVM zaps the mappings before it refuses to move a slot. */
	fz_arch_slot_gone(slot);
}

void fz_slot_change(void)
{
	struct fz_slot *slot = &fz_vm.slots[fz_below(FZ_USER_SLOTS)];
	struct fz_slot *last = fz_slot_at(0, fz_vm.last_gfn);
	unsigned int what = fz_below(100);

	/* A deletion may zap all mappings: toggle dirty logging more often. */
	if (last && last - fz_vm.slots < FZ_USER_SLOTS && fz_chance(40)) {
		toggle_dirty_log(last);
		return;
	}

	if (!slot->used) {
		create_slot(slot);
	} else if (what < 60) {
		toggle_dirty_log(slot);
	} else if (what < 72) {
		move_slot(slot);
	} else {
		fz_note("slot %u:%u deleted", slot->as, slot->id);
		fz_slot_set(slot, 0);
		fz_slot_deleted(slot);
	}
}
