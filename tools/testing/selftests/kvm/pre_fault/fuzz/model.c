// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ABI of KVM_PRE_FAULT_MEMORY in executable form: the result of a call for given
 * memslots, host memory and stage-2 mappings, and the events that zap a mapping.
 *
 * Two states are uncertain: a FZ_MAYBE page may be mapped or not, a FZ_ANY page has a
 * mapping of unknown size. They come from VMAs that are cut in two, and from guest page
 * faults whose effect depends on more than the model's state, see ARCH/fuzz.c. Without
 * these states, predictions are exact.
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

enum fz_map fz_map_get(const struct fz_slot *slot, uint64_t page)
{
	int64_t i = map_index(page);

	return i < 0 ? FZ_NO : slot->map[i];
}

void fz_map_set(struct fz_slot *slot, uint64_t page, enum fz_map map)
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

bool fz_is_logging(const struct fz_slot *slot)
{
	return slot->flags & KVM_MEM_LOG_DIRTY_PAGES &&
	       !(slot->flags & KVM_MEM_READONLY);
}

/* Return true if the slot allows the block around a page to be one mapping. */
static bool slot_fits_huge(const struct fz_slot *slot, uint64_t page)
{
	uint64_t block = page & ~(FZ_BLOCK - 1ul);

	return page < FZ_WINDOW && !((slot->gfn ^ slot->page) % FZ_BLOCK) &&
	       block >= slot->page &&
	       block + FZ_BLOCK <= slot->page + slot->npages;
}

bool fz_can_be_huge(const struct fz_slot *slot, uint64_t page)
{
	return slot_fits_huge(slot, page) && fz_host.huge[page / FZ_BLOCK];
}

void fz_block_set(struct fz_slot *slot, uint64_t page, enum fz_map from,
		  enum fz_map to)
{
	uint64_t block = page & ~(FZ_BLOCK - 1ul), i;

	for (i = block; i < block + FZ_BLOCK; i++) {
		if (fz_map_get(slot, i) == from)
			fz_map_set(slot, i, to);
	}
}

bool fz_block_has(const struct fz_slot *slot, uint64_t page, enum fz_map map)
{
	uint64_t block = page & ~(FZ_BLOCK - 1ul), i;

	for (i = block; i < block + FZ_BLOCK; i++) {
		if (fz_map_get(slot, i) == map)
			return true;
	}

	return false;
}

void fz_block_huge(struct fz_slot *slot, uint64_t page)
{
	fz_block_set(slot, page, FZ_NO, FZ_2M);
	fz_block_set(slot, page, FZ_4K, FZ_2M);
	fz_block_set(slot, page, FZ_ANY, FZ_2M);
	fz_block_set(slot, page, FZ_MAYBE, FZ_2M);
}

void fz_block_maybe_huge(struct fz_slot *slot, uint64_t page)
{
	fz_block_set(slot, page, FZ_NO, FZ_MAYBE);
	fz_block_set(slot, page, FZ_4K, FZ_ANY);
	fz_map_set(slot, page, FZ_ANY);
}

/* Map a page that is not, or not certainly, mapped. Count 4K pages. */
static void map_page(struct fz_slot *slot, uint64_t page, struct fz_answer *count)
{
	const enum fz_map old = fz_map_get(slot, page);
	const unsigned int nr = old != FZ_MAYBE;

	count->max_pages++;
	count->min_pages += nr;

	if (fz_arch_replaces_table(slot, page)) {
		count->max_pages += FZ_BLOCK - 1;
		count->min_pages += nr * (FZ_BLOCK - 1);
		fz_block_huge(slot, page);
		return;
	}

	/* A page table in use is not replaced. */
	if (!fz_can_be_huge(slot, page) || fz_block_has(slot, page, FZ_4K)) {
		fz_map_set(slot, page, FZ_4K);
		return;
	}

	/* The page may be part of a huge page, which a pre-fault does not split. */
	if (fz_arch_maps_4k(slot)) {
		fz_map_set(slot, page, old == FZ_MAYBE ? FZ_ANY : FZ_4K);
		return;
	}

	count->max_pages += FZ_BLOCK - 1;
	if (fz_block_has(slot, page, FZ_MAYBE) || fz_block_has(slot, page, FZ_ANY)) {
		fz_block_set(slot, page, FZ_NO, FZ_MAYBE);
		fz_map_set(slot, page, FZ_ANY);
	} else {
		count->min_pages += FZ_BLOCK - 1;
		fz_block_set(slot, page, FZ_NO, FZ_2M);
	}
}

bool fz_is_mapped(enum fz_map map)
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
		} else if (slot->unmappable) {
			a.err = ENOENT;
		} else {
			page = slot->page + gfn - slot->gfn;
			if (!fz_is_mapped(fz_map_get(slot, page)))
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
		if (vcpu->refuses)
			a.err = vcpu->refuses;
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
		if (!fz_is_mapped(fz_map_get(slot, page)))
			map_page(slot, page, count);
	}
}

static void slot_page_gone(struct fz_slot *slot, uint64_t page)
{
	enum fz_map map = fz_map_get(slot, page);

	if (map == FZ_2M) {
		fz_block_set(slot, page, FZ_2M, FZ_NO);
	} else if (map != FZ_NO) {
		fz_map_set(slot, page, FZ_NO);
		/* It may have been part of a mapping of 2M. */
		if (map != FZ_4K && slot_fits_huge(slot, page))
			fz_block_set(slot, page, FZ_ANY, FZ_MAYBE);
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
			if (fz_is_mapped(slot->map[i]))
				fz_map_set(slot, i, FZ_MAYBE);
		}
	}
}

/* All mappings of the slot were zapped. */
void fz_slot_gone(struct fz_slot *slot)
{
	if (!(slot->sure + slot->maybe))
		return;

	memset(slot->map, FZ_NO, sizeof(slot->map));
	slot->sure = 0;
	slot->maybe = 0;
}

/* All mappings of the VM were zapped. */
void fz_all_gone(void)
{
	unsigned int i;

	for (i = 0; i < FZ_NR_SLOTS; i++)
		fz_slot_gone(&fz_vm.slots[i]);
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
