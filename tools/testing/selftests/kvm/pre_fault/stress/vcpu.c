// SPDX-License-Identifier: GPL-2.0-only
/*
 * The vCPUs under stress, guest and host side: they pre-fault, and they have
 * the guest read and write pages.
 */
#define _GNU_SOURCE
#include <signal.h>

#include "stress.h"

#define LOAD(x)		__atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define STORE(x, v)	__atomic_store_n(&(x), v, __ATOMIC_SEQ_CST)

#define MAX_ORDERS	24
#define MANY_LOOPS	16
#define MAX_CALLS	8
/* The data of reads outside of memslots */
#define MMIO_DATA	0x4f494d4d4f494d4dul

struct guest_block {
	/* The host's orders have this number, and the guest's answer as well. */
	uint64_t seq;
	uint64_t answer;
	uint64_t nr;
	uint64_t repeat;
	struct guest_order {
		uint64_t gva;
		bool write;
		uint64_t words[NR_WORDS];
	} orders[MAX_ORDERS];
};

/* The host's side of an order */
struct look {
	struct area *area;
	unsigned int page;
	bool write;
	struct window window;
	uint32_t version;
	uint32_t period;
	uint32_t log_done;
	unsigned int mmio;
};

static void guest_obey(struct guest_order *o, uint64_t *page)
{
	if (READ_ONCE(o->write)) {
		WRITE_ONCE(page[0], READ_ONCE(o->words[0]));
		WRITE_ONCE(page[511], READ_ONCE(o->words[1]));
	} else {
		WRITE_ONCE(o->words[0], READ_ONCE(page[0]));
		WRITE_ONCE(o->words[1], READ_ONCE(page[511]));
	}
}

void guest_main(struct guest_block *block)
{
	struct guest_order *o;
	uint64_t i, n, nr, seq;

	for (;;) {
		guest_stop();
		seq = READ_ONCE(block->seq);
		nr = READ_ONCE(block->nr);
		n = READ_ONCE(block->repeat);

		for (; n; n--) {
			for (i = 0; i < nr; i++) {
				o = &block->orders[i];
				guest_obey(o, (void *)READ_ONCE(o->gva));
			}
		}
		WRITE_ONCE(block->answer, seq);
	}
}

/* The vCPU is not where it should be: print all of its state. */
static void vcpu_lost(struct worker *w, const char *why)
{
	struct kvm_run *run = w->vcpu->run;

	stress_fail(V_VCPUS, NULL, 0,
		    "vCPU %u is lost: %s; exit reason %u (%s), hardware's %#llx, suberror %u, after %lu guest loops",
		    w->vcpu->id, why, run->exit_reason,
		    exit_reason_str(run->exit_reason),
		    run->exit_reason == KVM_EXIT_UNKNOWN ?
		    run->hw.hardware_exit_reason :
		    run->fail_entry.hardware_entry_failure_reason,
		    run->internal.suberror, stress.shared->guest_loops);

	ksft_print_msg("expected at %#lx, guest_main() is at %p\n", w->pc,
		       guest_main);
	print_vcpu(w->vcpu);
}

static void lost_by_exception(struct worker *w)
{
	struct ucall uc;

	vcpu_lost(w, "the guest did not stop where it should");
	if (get_ucall(w->vcpu, &uc) == UCALL_UNHANDLED)
		ksft_print_msg("exception %lu in the guest, syndrome %#lx, at %#lx, address %#lx\n",
			       uc.args[0], uc.args[1], uc.args[2], uc.args[3]);
}

/* Handle an MMIO exit. Return false if it is not of an ordered access. */
static bool guest_mmio(struct worker *w, struct look *looks, unsigned int nr)
{
	struct kvm_run *run = w->vcpu->run;
	uint64_t gpa = run->mmio.phys_addr, data = MMIO_DATA;
	bool found = false;
	unsigned int i, word;

	count(&stress.shared->mmio, 1);
	for (i = 0; i < nr; i++) {
		struct look *l = &looks[i];

		if (l->write != run->mmio.is_write ||
		    gpa / PAGE_SIZE != w->block->orders[i].gva / PAGE_SIZE)
			continue;
		word = !!(gpa % PAGE_SIZE);
		l->mmio |= 1 << word;
		found = true;
		if (window_stable(l->area, &l->window) &&
		    !(l->write && l->window.flags & KVM_MEM_READONLY))
			stress_fail(V_CALLS, l->area, l->page,
				    "an MMIO exit for a %s, with the memslot in place",
				    l->write ? "write" : "read");
	}

	if (!run->mmio.is_write)
		memcpy(run->mmio.data, &data, sizeof(data));
	return found && run->mmio.len == 8;
}

static void guest_efault(struct worker *w, struct look *looks, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (window_was_bad(looks[i].area, looks[i].page,
				   &looks[i].window))
			return;
	stress_fail(V_CALLS, nr ? looks[0].area : NULL, nr ? looks[0].page : 0,
		    "KVM_RUN: EFAULT, with all memory in place");
}

/* Run the guest until its orders are done. Return false if the vCPU was closed. */
static bool guest_run(struct worker *w, struct look *looks, unsigned int nr)
{
	struct kvm_run *run = w->vcpu->run;
	uint64_t pc;

	for (;;) {
		int ret = __vcpu_run(w->vcpu);

		if (ret) {
			if (stress.closing && errno != EINTR)
				return false;
			count(&stress.shared->errors[errno % 256], 1);
			if (errno == EFAULT) {
				guest_efault(w, looks, nr);
				sched_yield();
			} else if (errno != EINTR || (!w->dump && !stopping() &&
				   !stress.enabled[OP_SIGNAL])) {
				vcpu_lost(w, strerror(errno));
			}
			if (READ_ONCE(w->dump)) {
				vcpu_lost(w, "the guest does not come back");
				return false;
			}
			if (stress.shared->failed[V_VCPUS] ||
			    stress.shared->failed[V_CALLS])
				return false;
			continue;
		}

		if (vcpu_stopped(w->vcpu, &pc)) {
			if (!w->pc)
				w->pc = pc;
			if (pc == w->pc)
				return true;
			/* The vCPU may have been closed in between. */
			if (!stress.closing)
				vcpu_lost(w, "wrong instruction pointer");
			return false;
		}
		if (run->exit_reason != KVM_EXIT_MMIO ||
		    !guest_mmio(w, looks, nr)) {
			lost_by_exception(w);
			return false;
		}
		if (stress.shared->failed[V_VCPUS])
			return false;
	}
}

static void access_end(struct area *area, unsigned int page)
{
	struct dirty *d = &area->dirty[page];
	uint32_t last = LOAD(d->last), now = LOAD(area->log_begun);

	while (last < now &&
	       !__atomic_compare_exchange_n(&d->last, &last, now, false,
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
	__atomic_sub_fetch(&d->active, 1, __ATOMIC_SEQ_CST);
}

static void order_write(struct worker *w, struct look *l, unsigned int i)
{
	struct area *area = l->area;
	unsigned int buf = l->window.cur, word;
	struct page *p = &area->bufs[buf].pages[l->page];

	page_check(area, buf, l->page);
	l->period = LOAD(area->period);
	l->log_done = LOAD(area->log_done);
	track_begin(p);
	l->version = page_begin(p);
	for (word = 0; word < NR_WORDS; word++)
		w->block->orders[i].words[word] =
			page_word(area, buf, l->page, l->version, word);
}

/* Check that the host sees the guest's write, unless that was an MMIO exit. */
static void check_write(struct worker *w, struct look *l)
{
	struct area *area = l->area;
	struct dirty *d = &area->dirty[l->page];
	unsigned int buf = l->window.cur, word;
	struct page *p = &area->bufs[buf].pages[l->page];
	bool readonly = l->window.flags & KVM_MEM_READONLY &&
			window_stable(area, &l->window);
	uint64_t *words = area->bufs[buf].mem + l->page * PAGE_SIZE;

	for (word = 0; word < NR_WORDS; word++) {
		uint64_t value = READ_ONCE(words[word ? 511 : 0]);
		uint64_t new = page_word(area, buf, l->page, l->version, word);
		bool mmio = l->mmio & 1 << word;

		if (!mmio && readonly)
			stress_fail(V_PAGES, area, l->page,
				    "the guest could write to a read-only slot");
		else if (!mmio && value != new)
			stress_fail(V_PAGES, area, l->page,
				    "the guest wrote %#lx to word %u, the host finds %#lx",
				    new, word, value);
		else if (mmio && !window_allows_buf(area, buf, l->page,
						    &l->window, word, value))
			stress_fail(V_PAGES, area, l->page,
				    "the host finds %#lx in word %u, where the guest could not write",
				    value, word);
	}

	if (!l->mmio && !readonly)
		track_end(w, area, buf, l->page);

	if (!l->mmio && !(l->period & 1) && LOAD(area->period) == l->period) {
		STORE(d->due, l->log_done + 1);
		STORE(d->period, l->period);
	}

	if (l->mmio)
		page_store(area, buf, l->page, l->version);
	page_end(p, l->version);
	note(&p->history, w, OP_GUEST_WRITE, l->version);
	page_unlock(p);
}

/* Try to lock a page for a write by the guest. Return true on success. */
static bool own_page(struct area *area, unsigned int page)
{
	__atomic_add_fetch(&area->writers, 1, __ATOMIC_SEQ_CST);
	if (!LOAD(area->no_writers) &&
	    page_trylock(&area->bufs[LOAD(area->cur)].pages[page]))
		return true;
	__atomic_sub_fetch(&area->writers, 1, __ATOMIC_SEQ_CST);
	return false;
}

static void give_orders(struct worker *w, struct look *looks, unsigned int nr)
{
	/* Do not keep threads waiting for a page for long. */
	unsigned int writes = w->block->repeat > MANY_LOOPS ? MAX_ORDERS : 3, i;

	for (i = 0; i < nr; i++) {
		struct look *l = &looks[i];

		*l = (struct look) {
			.area = &stress.areas[rnd_below(w, stress.nr_areas)],
			.page = rnd_below(w, stress.npages),
			.write = rnd_one_in(w, writes),
		};
		if (l->write)
			l->write = own_page(l->area, l->page);
		__atomic_add_fetch(&l->area->dirty[l->page].active, 1,
				   __ATOMIC_SEQ_CST);
		window_open(l->area, l->page, &l->window);
		w->block->orders[i].gva = l->window.gpa + l->page * PAGE_SIZE;
		w->block->orders[i].write = l->write;
		if (l->write)
			order_write(w, l, i);
	}
}

static bool guest_turn(struct worker *w)
{
	struct look looks[MAX_ORDERS];
	unsigned int nr = 1 + rnd_below(w, MAX_ORDERS), i, word;

	w->block->repeat = rnd_one_in(w, 4) ? 1 + rnd_below(w, stress.repeat) : 1;
	give_orders(w, looks, nr);
	w->block->nr = nr;
	w->block->seq = ++w->block_seq;

	if (!guest_run(w, looks, nr))
		return false;
	count(&stress.shared->guest_loops, w->block->repeat);
	if (w->block->answer != w->block_seq)
		stress_fail(V_PAGES, NULL, 0,
			    "vCPU %u: the guest answered order %lu instead of %u, which is in slot 0",
			    w->vcpu->id, w->block->answer, w->block_seq);

	for (i = 0; i < nr; i++) {
		struct look *l = &looks[i];

		access_end(l->area, l->page);
		if (l->write) {
			check_write(w, l);
			__atomic_sub_fetch(&l->area->writers, 1,
					   __ATOMIC_SEQ_CST);
			did(w, OP_GUEST_WRITE);
			continue;
		}
		for (word = 0; word < NR_WORDS; word++)
			if (!(l->mmio & 1 << word))
				window_check(l->area, l->page, &l->window, word,
					     w->block->orders[i].words[word]);
		did(w, OP_GUEST_READ);
	}
	return true;
}

/* Return true if a call may fail with @err at this page. */
static bool error_allowed(int err, struct area *area, unsigned int page,
			  const struct window *window)
{
	bool stable = window_stable(area, window);
	bool inside = page < stress.npages;

	switch (err) {
	case EINTR:
		return stress.enabled[OP_SIGNAL] || stopping();
	case EAGAIN:
		return !stable && inside;
	case ENOENT:
		return !stable || !inside;
	case EFAULT:
		return inside && window_was_bad(area, page, window);
	default:
		return false;
	}
}

static bool pre_fault_call(struct worker *w, struct area *area,
			   struct kvm_pre_fault_memory *range, uint64_t gpa)
{
	struct kvm_pre_fault_memory old = *range;
	unsigned int page = (range->gpa - gpa) / PAGE_SIZE;
	struct window window;
	int err;

	window_open(area, min(page, stress.npages - 1), &window);
	if (window.gpa != gpa)
		return false;
	err = __vcpu_ioctl(w->vcpu, KVM_PRE_FAULT_MEMORY, range) ? errno : 0;
	if (stress.closing && err && err != EINTR)
		return false;
	count(&stress.shared->errors[err % 256], 1);
	did(w, OP_PREFAULT);

	if (range->gpa + range->size != old.gpa + old.size ||
	    range->gpa % PAGE_SIZE || range->gpa < old.gpa ||
	    range->size > old.size || (err ? range->gpa != old.gpa :
					     range->gpa == old.gpa))
		stress_fail(V_CALLS, area, min(page, stress.npages - 1),
			    "a pre-fault of gpa %#llx, size %#llx ended with errno %d at gpa %#llx, size %#llx",
			    old.gpa, old.size, err, range->gpa, range->size);
	if (!err && page >= stress.npages)
		stress_fail(V_CALLS, area, stress.npages - 1,
			    "a pre-fault at gpa %#llx, behind the memslot, did %#llx",
			    old.gpa, range->gpa - old.gpa);
	if (err && !error_allowed(err, area, page, &window))
		stress_fail(V_CALLS, area, min(page, stress.npages - 1),
			    "errno %d (%s) of a pre-fault at gpa %#llx, size %#llx; memslot %s",
			    err, strerror(err), old.gpa, old.size,
			    window_stable(area, &window) ? "unchanged" :
							   "changed");
	return !err;
}

static bool pre_fault_turn(struct worker *w)
{
	struct area *area = &stress.areas[rnd_below(w, stress.nr_areas)];
	unsigned int first = rnd_below(w, stress.npages), nr, i;
	uint64_t gpa = LOAD(area->gpa);
	struct kvm_pre_fault_memory range;

	switch (rnd_below(w, 6)) {
	case 0:
		nr = 1;
		break;
	case 1:
		nr = 1 + rnd_below(w, 16);
		break;
	case 2:
		/* Exceed the end of the slot. */
		nr = stress.npages;
		break;
	case 3:
		nr = 1 + rnd_below(w, stress.npages - first);
		break;
	default:
		first = 0;
		nr = stress.npages;
	}

	range = (struct kvm_pre_fault_memory) {
		.gpa = gpa + first * PAGE_SIZE,
		.size = nr * PAGE_SIZE,
	};
	for (i = 0; i < MAX_CALLS && range.size && !stopping(); i++)
		if (!pre_fault_call(w, area, &range, gpa))
			break;
	count(&stress.shared->pages_pre_faulted,
	      (range.gpa - gpa) / PAGE_SIZE - first);

	return !stress.closing || i;
}

void vcpu_main(struct worker *w)
{
	guest_run(w, NULL, 0);

	while (!stopping()) {
		if (stress.enabled[OP_PREFAULT] && rnd_below(w, 2)) {
			pre_fault_turn(w);
			if (!READ_ONCE(stress.closing))
				continue;
		}
		if (!guest_turn(w))
			break;
	}
}
