// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ABI of KVM_PRE_FAULT_MEMORY in executable form: the result of a call for given
 * memslots, host memory and stage-2 mappings, and the events that zap a mapping.
 *
 * Two states are uncertain: a FZ_MAYBE page may be mapped or not, a FZ_ANY page has a
 * mapping of unknown size. They come from VMAs that are cut in two, and from the legacy
 * MMU, which maps the neighbours of a page that the guest touches, and recycles page
 * tables when it has too many. Without these states, predictions are exact.
 */
#include "fuzz.h"

struct fz_facts fz_facts;
struct fz_host fz_host;
struct fz_vm fz_vm;

bool fz_beyond_eof(uint64_t page)
{
	const struct fz_area *area = &fz_host.areas[page / FZ_AREA_PAGES];

	if (page >= FZ_WINDOW)
		return page >= FZ_PAGES;
	return area->fd >= 0 && page % FZ_AREA_PAGES >= area->file_pages;
}

/* The result of reading a page: 0 or an errno */
int fz_host_errno(uint64_t page)
{
	int err = 0;

	if (page >= FZ_OWN)
		return 0;

	if (fz_beyond_eof(page))
		err = EFAULT;
	else if (page >= FZ_WINDOW)
		err = 0;
	else if (!(fz_host.page[page] & FZ_READ))
		err = EFAULT;
	else if (fz_host.page[page] & FZ_POISON)
		err = EHWPOISON;

	return err;
}

/* Return the index of the page in fz_slot.map, or -1 if it can never be mapped. */
static int64_t map_index(uint64_t page)
{
	if (page < FZ_PAGES)
		return page;
	return page < FZ_OWN ? -1 : (int64_t)(page - FZ_OWN + FZ_PAGES);
}

static enum fz_map map_get(const struct fz_slot *slot, uint64_t page)
{
	int64_t i = map_index(page);

	return i < 0 ? FZ_NO : slot->map[i];
}

static void map_set(struct fz_slot *slot, uint64_t page, enum fz_map map)
{
	uint8_t *old = &slot->map[map_index(page)];

	slot->sure += (map != FZ_NO && map != FZ_MAYBE) -
		      (*old != FZ_NO && *old != FZ_MAYBE);
	slot->maybe += (map == FZ_MAYBE) - (*old == FZ_MAYBE);
	*old = map;
}

struct fz_slot *fz_slot_at(uint8_t as, uint64_t gfn)
{
	struct fz_slot *slot = fz_vm.slots;

	for (; slot < fz_vm.slots + FZ_NR_SLOTS; slot++) {
		if (slot->used && slot->as == as && gfn >= slot->gfn &&
		    gfn - slot->gfn < slot->npages)
			return slot;
	}

	return NULL;
}

bool fz_slot_is_free(uint8_t as, uint64_t gfn, uint64_t npages,
		     struct fz_slot *but)
{
	struct fz_slot *slot = fz_vm.slots;

	for (; slot < fz_vm.slots + FZ_NR_SLOTS; slot++) {
		if (slot != but && slot->used && slot->as == as &&
		    slot->gfn < gfn + npages && gfn < slot->gfn + slot->npages)
			return false;
	}

	return true;
}

/* Return true if the slot allows the block around a page to be one mapping. */
static bool slot_fits_huge(const struct fz_slot *slot, uint64_t page)
{
	uint64_t block = page & ~(FZ_BLOCK - 1ul);

	return page < FZ_WINDOW && !((slot->gfn ^ slot->page) % FZ_BLOCK) &&
	       block >= slot->page &&
	       block + FZ_BLOCK <= slot->page + slot->npages;
}

static bool can_be_huge(const struct fz_slot *slot, uint64_t page)
{
	return slot_fits_huge(slot, page) && fz_host.huge[page / FZ_BLOCK];
}

static void block_set(struct fz_slot *slot, uint64_t page, enum fz_map from,
		      enum fz_map to)
{
	uint64_t block = page & ~(FZ_BLOCK - 1ul), i;

	for (i = block; i < block + FZ_BLOCK; i++) {
		if (map_get(slot, i) == from)
			map_set(slot, i, to);
	}
}

static bool block_has(const struct fz_slot *slot, uint64_t page, enum fz_map map)
{
	uint64_t block = page & ~(FZ_BLOCK - 1ul), i;

	for (i = block; i < block + FZ_BLOCK; i++) {
		if (map_get(slot, i) == map)
			return true;
	}

	return false;
}

/*
 * On newer kernels, KVM's own fault path maps the huge zero page, and replaces a page
 * table for it.
 */
static bool replaces_table(const struct fz_slot *slot, uint64_t page)
{
	return PF_COPIES_HUGE_ZERO && can_be_huge(slot, page) &&
	       !(slot->flags & KVM_MEM_LOG_DIRTY_PAGES) &&
	       !(fz_host.page[page] & FZ_PRIVATE);
}

/* Map a page that is not, or not certainly, mapped. Count 4K pages. */
static void map_page(struct fz_slot *slot, uint64_t page, struct fz_answer *count)
{
	const unsigned int nr = map_get(slot, page) != FZ_MAYBE;

	count->max_pages++;
	count->min_pages += nr;

	if (replaces_table(slot, page)) {
		count->max_pages += FZ_BLOCK - 1;
		count->min_pages += nr * (FZ_BLOCK - 1);
		block_set(slot, page, FZ_NO, FZ_2M);
		block_set(slot, page, FZ_4K, FZ_2M);
		block_set(slot, page, FZ_ANY, FZ_2M);
		block_set(slot, page, FZ_MAYBE, FZ_2M);
		return;
	}

	/* Dirty logging needs 4K mappings. A page table in use is not replaced. */
	if (!can_be_huge(slot, page) || slot->flags & KVM_MEM_LOG_DIRTY_PAGES ||
	    block_has(slot, page, FZ_4K)) {
		map_set(slot, page, FZ_4K);
		return;
	}

	count->max_pages += FZ_BLOCK - 1;
	if (block_has(slot, page, FZ_MAYBE) || block_has(slot, page, FZ_ANY)) {
		block_set(slot, page, FZ_NO, FZ_MAYBE);
		map_set(slot, page, FZ_ANY);
	} else {
		count->min_pages += FZ_BLOCK - 1;
		block_set(slot, page, FZ_NO, FZ_2M);
	}
}

static bool is_mapped(enum fz_map map)
{
	return map == FZ_4K || map == FZ_2M || map == FZ_ANY;
}

/*
 * Walk the range to its end, or to the first page that can't be mapped. A page that is
 * mapped already is done, whatever its host memory.
 */
static struct fz_answer walk(uint8_t as, uint64_t gpa, uint64_t size)
{
	struct fz_slot *slot = NULL;
	struct fz_answer a = {};
	uint64_t page, gfn;

	for (; a.done < size && !a.err; a.done += PAGE_SIZE) {
		gfn = (gpa + a.done) / PAGE_SIZE;

		if (!slot || gfn - slot->gfn >= slot->npages)
			slot = fz_slot_at(as, gfn);
		if (!slot) {
			a.err = ENOENT;
		} else if (slot->invalid) {
			a.err = EAGAIN;
		} else if (slot->apic_access && !fz_vm.apicv) {
			a.err = ENOENT;
		} else {
			page = slot->page + gfn - slot->gfn;
			if (!is_mapped(map_get(slot, page)))
				a.err = fz_host_errno(page);
		}
		if (a.err)
			break;
	}

	return a;
}

/* Return false for EINVAL, which only arguments get that can never succeed. */
static bool is_valid(const struct kvm_pre_fault_memory *range)
{
	return !range->flags && range->size && !(range->gpa % PAGE_SIZE) &&
	       !(range->size % PAGE_SIZE) && range->size <= -1ul - range->gpa;
}

/*
 * Predict a call. The call maps @done bytes or finds them mapped, even if the errno is
 * that of a struct that can't be written.
 */
struct fz_answer fz_predict(struct fz_vcpu *vcpu, const struct fz_call *call)
{
	const struct kvm_pre_fault_memory *range = &call->range;
	struct fz_answer a = {};

	if (!call->readable) {
		a.err = EFAULT;
	} else if (!is_valid(range)) {
		a.err = EINVAL;
	} else {
		if (vcpu->nested)
			a.err = EOPNOTSUPP;
		else
			a = walk(vcpu->as, range->gpa, range->size);
		if (a.done)
			a.err = 0;
		if (!call->writable)
			a.err = EFAULT;
	}

	return a;
}

/* Record the mappings of a call, and count the new ones. */
void fz_mapped(uint8_t as, uint64_t gpa, uint64_t size, struct fz_answer *count)
{
	struct fz_slot *slot = NULL;
	uint64_t done, page, gfn;

	for (done = 0; done < size; done += PAGE_SIZE) {
		gfn = (gpa + done) / PAGE_SIZE;

		if (!slot || gfn - slot->gfn >= slot->npages)
			slot = fz_slot_at(as, gfn);
		page = slot->page + gfn - slot->gfn;
		if (!is_mapped(map_get(slot, page)))
			map_page(slot, page, count);
	}
}

/* The guest has touched a page that the host does not map with a huge page. */
void fz_guest_mapped(struct fz_slot *slot, uint64_t page)
{
	uint64_t first = page - (slot->gfn + page - slot->page) % 8, i;

	map_set(slot, page, FZ_4K);
	if (fz_facts.tdp_mmu)
		return;

	/* The legacy MMU also maps the pages around, if they are present on the host. */
	for (i = first; i < first + 8; i++) {
		if (i >= slot->page && i < slot->page + slot->npages &&
		    map_index(i) >= 0 && map_get(slot, i) == FZ_NO &&
		    !fz_host_errno(i))
			map_set(slot, i, FZ_MAYBE);
	}
}

static void slot_page_gone(struct fz_slot *slot, uint64_t page)
{
	enum fz_map map = map_get(slot, page);

	if (map == FZ_2M) {
		block_set(slot, page, FZ_2M, FZ_NO);
	} else if (map != FZ_NO) {
		map_set(slot, page, FZ_NO);
		/* It may have been part of a mapping of 2M. */
		if (map != FZ_4K && slot_fits_huge(slot, page))
			block_set(slot, page, FZ_ANY, FZ_MAYBE);
	}
}

/* The host has unmapped or replaced pages: update all slots that have them. */
void fz_host_gone(uint64_t page, uint64_t npages)
{
	struct fz_slot *slot = fz_vm.slots;
	uint64_t i, end;

	for (; slot < fz_vm.slots + FZ_NR_SLOTS; slot++) {
		if (!slot->used || !(slot->sure + slot->maybe))
			continue;
		i = max(page, slot->page);
		end = min(page + npages, slot->page + slot->npages);
		for (; i < end; i++)
			slot_page_gone(slot, i);
	}
}

/* The host may have unmapped the block around a page. */
void fz_host_maybe_gone(uint64_t page)
{
	uint64_t block = page & ~(FZ_BLOCK - 1ul), i;
	struct fz_slot *slot = fz_vm.slots;

	for (; slot < fz_vm.slots + FZ_NR_SLOTS; slot++) {
		for (i = block; slot->sure && i < block + FZ_BLOCK; i++) {
			if (is_mapped(slot->map[i]))
				map_set(slot, i, FZ_MAYBE);
		}
	}
}

/* Any slot was deleted or moved, which zaps all mappings of the VM. */
void fz_all_gone(void)
{
	struct fz_slot *slot = fz_vm.slots;

	for (; slot < fz_vm.slots + FZ_NR_SLOTS; slot++) {
		if (!(slot->sure + slot->maybe))
			continue;
		memset(slot->map, FZ_NO, sizeof(slot->map));
		slot->sure = 0;
		slot->maybe = 0;
	}
}

/* The legacy MMU has recycled page tables: any mapping may be gone. */
void fz_recycled(void)
{
	struct fz_slot *slot = fz_vm.slots;
	unsigned int i;

	for (; slot < fz_vm.slots + FZ_NR_SLOTS; slot++) {
		for (i = 0; i < FZ_NR_INDEX && slot->sure; i++) {
			if (slot->map[i] == FZ_NO || slot->map[i] == FZ_MAYBE)
				continue;
			slot->map[i] = FZ_MAYBE;
			slot->sure--;
			slot->maybe++;
		}
	}
}

/*
 * Dirty logging was enabled: large mappings are split, small ones stay. The legacy MMU
 * does not split, nor does KVM in a read-only slot, which can't get dirty.
 */
void fz_dirty_log_on(struct fz_slot *slot)
{
	uint64_t page = slot->page;

	if (!fz_facts.tdp_mmu || !fz_facts.eager_split ||
	    slot->flags & KVM_MEM_READONLY)
		return;

	for (; page < slot->page + slot->npages && page < FZ_WINDOW; page++) {
		if (map_get(slot, page) == FZ_2M)
			map_set(slot, page, FZ_4K);
	}
}

/* KVM replaces a page table with a large mapping, if it maps anything. */
static void recover_huge(struct fz_slot *slot, uint64_t page)
{
	if (block_has(slot, page, FZ_4K) || block_has(slot, page, FZ_ANY)) {
		block_set(slot, page, FZ_NO, FZ_2M);
		block_set(slot, page, FZ_4K, FZ_2M);
		block_set(slot, page, FZ_ANY, FZ_2M);
		block_set(slot, page, FZ_MAYBE, FZ_2M);
	} else if (block_has(slot, page, FZ_MAYBE)) {
		block_set(slot, page, FZ_NO, FZ_MAYBE);
	}
}

/*
 * Dirty logging was disabled: small mappings that can be large become large, or are
 * zapped.
 */
void fz_dirty_log_off(struct fz_slot *slot)
{
	uint64_t page = slot->page;

	if (slot->flags & KVM_MEM_READONLY)
		return;

	if (PF_RECOVERS_HUGE && fz_facts.tdp_mmu) {
		for (; page < slot->page + slot->npages && page < FZ_WINDOW; page++) {
			if (can_be_huge(slot, page))
				recover_huge(slot, page);
		}
		return;
	}

	for (; page < slot->page + slot->npages && page < FZ_WINDOW; page++) {
		if (!can_be_huge(slot, page))
			continue;
		if (map_get(slot, page) == FZ_4K)
			map_set(slot, page, FZ_NO);
		else if (map_get(slot, page) == FZ_ANY)
			map_set(slot, page, FZ_MAYBE);
	}
}

/* Count the pages that are mapped, and those that may be. */
void fz_count(uint64_t *sure, uint64_t *maybe)
{
	struct fz_slot *slot = fz_vm.slots;

	*sure = 0;
	*maybe = 0;
	for (; slot < fz_vm.slots + FZ_NR_SLOTS; slot++) {
		*sure += slot->sure;
		*maybe += slot->maybe;
	}
}
