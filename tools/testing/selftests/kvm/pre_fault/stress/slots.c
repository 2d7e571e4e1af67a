// SPDX-License-Identifier: GPL-2.0-only
/*
 * Changes of the memslots under stress, and their dirty log.
 */
#define _GNU_SOURCE
#include "stress.h"

#define LOAD(x)		__atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define STORE(x, v)	__atomic_store_n(&(x), v, __ATOMIC_SEQ_CST)

static bool is_logging(struct area *area)
{
	return area->flags & KVM_MEM_LOG_DIRTY_PAGES;
}

/* From here on the memslot may or may not exist. */
static void change_begin(struct area *area)
{
	if (is_logging(area))
		STORE(area->period, area->period + 1);
	STORE(area->seq, area->seq + 1);
}

static void change_end(struct worker *w, struct area *area, enum op op)
{
	note(&area->history, w, op, area->seq);
	STORE(area->seq, area->seq + 1);
	if (is_logging(area))
		STORE(area->period, area->period + 1);
	did(w, op);
}

static void recreate(struct worker *w, struct area *area)
{
	rnd_sleep(w, 500);
	area_set_slot(area, area->gpa, area->cur, area->flags, true);
}

static void op_delete(struct worker *w, struct area *area)
{
	change_begin(area);
	area_set_slot(area, area->gpa, area->cur, area->flags, false);
	recreate(w, area);
	change_end(w, area, OP_DELETE);
}

/* Replace the memory of the memslot, while the guest does not write. */
static void op_switch(struct worker *w, struct area *area)
{
	STORE(area->no_writers, true);
	while (LOAD(area->writers))
		sched_yield();

	change_begin(area);
	area_set_slot(area, area->gpa, area->cur, area->flags, false);
	STORE(area->cur, !area->cur);
	recreate(w, area);
	change_end(w, area, OP_SWITCH);
	STORE(area->no_writers, false);
}

static void op_move(struct worker *w, struct area *area)
{
	uint64_t gpa = (area->gpa - TEST_GPA) ^ PLACE_STRIDE;

	change_begin(area);
	STORE(area->gpa, TEST_GPA + gpa);
	area_set_slot(area, area->gpa, area->cur, area->flags, true);
	change_end(w, area, OP_MOVE);
}

static void op_readonly(struct worker *w, struct area *area)
{
	change_begin(area);
	area_set_slot(area, area->gpa, area->cur, area->flags, false);
	STORE(area->flags, area->flags ^ KVM_MEM_READONLY);
	recreate(w, area);
	change_end(w, area, OP_READONLY);
}

const enum op slot_ops[] = {
	OP_DELETE, OP_SWITCH, OP_MOVE, OP_READONLY, NR_OPS
};

void slots_main(struct worker *w)
{
	while (!stopping()) {
		struct area *area = &stress.areas[rnd_below(w, stress.nr_areas)];
		/* Keep memslots read-only for a short time. */
		enum op op = area->flags & KVM_MEM_READONLY &&
			     rnd_one_in(w, 2) ? OP_READONLY : choose_op(w, slot_ops);

		pthread_mutex_lock(&area->mutex);
		if (!READ_ONCE(stress.closing)) {
			switch (op) {
			case OP_DELETE:
				op_delete(w, area);
				break;
			case OP_SWITCH:
				op_switch(w, area);
				break;
			case OP_MOVE:
				op_move(w, area);
				break;
			default:
				op_readonly(w, area);
				break;
			}
		}
		pthread_mutex_unlock(&area->mutex);
		w->progress++;
		pace(w, 20000);
	}
}

static void toggle_logging(struct worker *w, struct area *area)
{
	bool on = !is_logging(area);

	if (!on)
		STORE(area->period, area->period + 1);
	STORE(area->flags, area->flags ^ KVM_MEM_LOG_DIRTY_PAGES);
	area_set_slot(area, area->gpa, area->cur, area->flags, true);
	if (on)
		STORE(area->period, area->period + 1);
	note(&area->history, w, OP_DIRTY, on);
	did(w, OP_DIRTY);
}

static void read_log(struct worker *w, struct area *area)
{
	uint64_t log[MAX_PAGES / 64 + 1] = {};
	uint32_t due[MAX_PAGES], n;
	unsigned int i;

	n = area->log_begun + 1;
	STORE(area->log_begun, n);
	for (i = 0; i < stress.npages; i++) {
		struct dirty *d = &area->dirty[i];

		due[i] = LOAD(d->period) == area->period ? LOAD(d->due) : 0;
	}

	kvm_vm_get_dirty_log(stress.vm, area->slot, log);

	for (i = 0; i < stress.npages; i++) {
		struct dirty *d = &area->dirty[i];

		if (log[i / 64] & 1ul << i % 64) {
			d->seen = n;
			/* A read may dirty the page, as KVM may map it writable. */
			if (!LOAD(d->active) && LOAD(d->last) + 1 < n)
				stress_fail(V_DIRTY, area, i,
					    "in dirty log %u, but not accessed since before log %u",
					    n, d->last + 1);
		}
		if (due[i] > d->seen)
			stress_fail(V_DIRTY, area, i,
				    "written, but not in the dirty logs from %u to %u",
				    due[i], n);
	}
	STORE(area->log_done, n);
	note(&area->history, w, OP_DIRTY_LOG, n);
	did(w, OP_DIRTY_LOG);
}

void dirty_main(struct worker *w)
{
	while (!stopping()) {
		struct area *area = &stress.areas[rnd_below(w, stress.nr_areas)];

		pthread_mutex_lock(&area->mutex);
		if (!READ_ONCE(stress.closing)) {
			if (rnd_one_in(w, 8))
				toggle_logging(w, area);
			else if (is_logging(area))
				read_log(w, area);
		}
		pthread_mutex_unlock(&area->mutex);
		w->progress++;
		rnd_sleep(w, 5000);
	}
}
