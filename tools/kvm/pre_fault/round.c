// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pre-fault a VM in rounds. A round is due when slots have changed. The first vCPU that
 * enters KVM_RUN begins the round, and all vCPUs that enter meanwhile share the work.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "preload.h"

/* Some pieces take longer than others: small ones let all vCPUs end together. */
#define PIECES_PER_VCPU	4
/* Give up a piece after so many pages that the host cannot fault in. */
#define MAX_FAILURES	64
/* How often a vCPU that waits for others checks for a kick, in ns */
#define KICK_PERIOD	1000000

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static struct slot *find_slot(struct vm *vm, uint32_t id)
{
	for (unsigned int i = 0; i < vm->nr_slots; i++) {
		if (vm->slots[i].id == id)
			return &vm->slots[i];
	}
	return NULL;
}

static void add_slot(struct vm *vm, const struct slot *slot)
{
	struct slot *slots = realloc(vm->slots, (vm->nr_slots + 1) * sizeof(*slots));

	/* Without memory to note the slot, leave it to guest page faults. */
	if (!slots)
		return;
	vm->slots = slots;
	slots[vm->nr_slots++] = *slot;
}

static void set_due(struct vm *vm, bool due)
{
	__atomic_store_n(&vm->due, due, __ATOMIC_RELEASE);
}

/* Follow a change that KVM has accepted. */
void slot_changed(struct vm *vm, const struct slot *slot)
{
	struct slot *old;

	pthread_mutex_lock(&vm->lock);
	old = find_slot(vm, slot->id);
	/* A change of flags drops no mappings. */
	if (old && slot->size == old->size && slot->gpa == old->gpa &&
	    slot->hva == old->hva) {
		old->flags = slot->flags;
		goto unlock;
	}
	vm->changes++;
	vm->changed_ns = now_ns();
	if (old)
		vm->drops++;
	if (slot->size || !vm->keeps)
		set_due(vm, vm->supported && vm->nr_rounds <= options.again);
	if (old && slot->size)
		*old = *slot;
	else if (old)
		*old = vm->slots[--vm->nr_slots];
	else if (slot->size)
		add_slot(vm, slot);
unlock:
	pthread_mutex_unlock(&vm->lock);
}

/* Return true if another thread has asked the vCPU to leave KVM_RUN at once. */
static bool is_kicked(const struct vcpu *vcpu)
{
	return vcpu->run && vcpu->run->immediate_exit;
}

static struct round *current_round(struct vm *vm)
{
	return &vm->rounds[vm->nr_rounds - 1];
}

static bool is_settled(const struct vm *vm)
{
	return !vm->nr_rounds ||
	       now_ns() - vm->changed_ns >= options.settle * 1000000ULL;
}

static void begin_round(struct vm *vm)
{
	struct round *round = &vm->rounds[vm->nr_rounds++];
	uint64_t total = 0;

	vm->open = true;
	vm->seen = vm->changes;
	vm->cursor = 0;
	vm->offset = 0;
	vm->joined = 0;
	round->begin_ns = now_ns();
	round->error = find_areas(vm, round->skipped);
	for (unsigned int i = 0; i < vm->nr_areas; i++)
		total += vm->areas[i].size;
	vm->piece = SZ_64M;
	while (vm->vcpus > 1 && vm->piece > SZ_2M &&
	       total / vm->piece < vm->vcpus * PIECES_PER_VCPU)
		vm->piece /= 2;
	round->look_ns = now_ns() - round->begin_ns;
}

/* Called by the last vCPU at work, once all is done or the slots have changed */
static void end_round(struct vm *vm)
{
	struct round *round = current_round(vm);

	round->wall_ns = now_ns() - round->begin_ns;
	free_areas(vm);
	vm->open = false;
	set_due(vm, vm->seen != vm->changes && vm->nr_rounds <= options.again);
	pthread_cond_broadcast(&vm->over);
	report_round(vm);
}

/* Take the next piece. All end at multiples of 2M: no two share a huge page. */
static bool take_piece(struct vm *vm, struct area *piece)
{
	uint64_t size;

	while (vm->cursor < vm->nr_areas && vm->seen == vm->changes) {
		const struct area *area = &vm->areas[vm->cursor];

		if (vm->offset == area->size) {
			vm->cursor++;
			vm->offset = 0;
			continue;
		}
		*piece = *area;
		piece->gpa += vm->offset;
		piece->hva += vm->offset;
		piece->offset += vm->offset;
		size = vm->piece - piece->gpa % vm->piece;
		if (size < area->size - vm->offset)
			piece->size = size;
		else
			piece->size = area->size - vm->offset;
		vm->offset += piece->size;
		return true;
	}
	return false;
}

/* Add the work of a vCPU to the round. */
static void add_work(struct vm *vm, const struct round *work)
{
	struct round *round = current_round(vm);

	round->look_ns += work->look_ns;
	round->pre_fault_ns += work->pre_fault_ns;
	round->bytes += work->bytes;
	round->failed += work->failed;
	round->calls += work->calls;
	round->skipped[SKIP_ABSENT] += work->skipped[SKIP_ABSENT];
	if (work->error && !round->error) {
		round->error = work->error;
		round->error_gpa = work->error_gpa;
	}
}

/* Return true for an error of a single page: the next pages may have none. */
static bool is_of_page(int error)
{
	return error == -EFAULT || error == -EHWPOISON;
}

/* Pre-fault memory that is present. Return the number of failures. */
static int pre_fault_run(int fd, uint64_t gpa, uint64_t size, struct round *work)
{
	struct kvm_pre_fault_opts opts = { .next = gpa };
	uint64_t end = gpa + size;
	int failures = 0, error;

	while (gpa < end && failures < MAX_FAILURES) {
		error = kvm_pre_fault_range(&fd, 1, gpa, end - gpa, &opts);
		work->calls++;
		work->bytes += opts.done;
		gpa = opts.next;
		if (!error)
			break;
		if (!work->error) {
			work->error = error;
			work->error_gpa = gpa;
		}
		if (!is_of_page(error)) {
			failures = MAX_FAILURES;
			break;
		}
		failures++;
		gpa += SZ_4K;
		work->failed += SZ_4K;
	}
	if (gpa < end)
		work->failed += end - gpa;
	return failures;
}

static int pre_fault_piece(int fd, const struct area *piece, uint8_t *present,
			   struct round *work)
{
	uint64_t pages = piece->size / SZ_4K, first, next, begin = now_ns(), found;
	int failures = 0;

	work->error = find_present(piece, present);
	work->error_gpa = piece->gpa;
	found = now_ns();
	work->look_ns = found - begin;
	if (work->error)
		return 0;
	for (first = 0; first < pages && failures < MAX_FAILURES; first = next) {
		next = first + 1;
		while (next < pages && present[next] == present[first])
			next++;
		if (present[first])
			failures += pre_fault_run(fd, piece->gpa + first * SZ_4K,
						  (next - first) * SZ_4K, work);
		else
			work->skipped[SKIP_ABSENT] += (next - first) * SZ_4K;
	}
	work->pre_fault_ns = now_ns() - found;
	return failures;
}

/* Return true for an error that any further call would return, too. */
static bool is_final(int error)
{
	return error && !is_of_page(error) && error != -EAGAIN && error != -ENOENT;
}

static void work_on_round(struct vcpu *vcpu, int fd)
{
	struct vm *vm = vcpu->vm;
	uint8_t *present = malloc(SZ_64M / SZ_4K);
	struct area piece;

	vm->workers++;
	if (vcpu->index < 64 && !(vm->joined & 1ULL << vcpu->index)) {
		vm->joined |= 1ULL << vcpu->index;
		current_round(vm)->vcpus++;
	}
	while (present && !is_kicked(vcpu) && take_piece(vm, &piece)) {
		struct round work = { 0 };

		pthread_mutex_unlock(&vm->lock);
		pre_fault_piece(fd, &piece, present, &work);
		pthread_mutex_lock(&vm->lock);
		add_work(vm, &work);
		if (is_final(work.error))
			vm->cursor = vm->nr_areas;
	}
	free(present);
	vm->workers--;
}

static bool is_work_left(const struct vm *vm)
{
	return vm->cursor < vm->nr_areas && vm->seen == vm->changes;
}

/* Keep the vCPU out of the guest until the round is over, or until it is kicked. */
static void wait_for_others(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	struct timespec until;

	while (vm->open && vm->workers && !is_kicked(vcpu)) {
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += KICK_PERIOD;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
		pthread_cond_timedwait(&vm->over, &vm->lock, &until);
	}
}

/* Called on the thread of a vCPU before KVM_RUN, if the VM is due */
void before_run(struct vcpu *vcpu, int fd)
{
	struct vm *vm = vcpu->vm;
	bool over = false;

	if (is_kicked(vcpu))
		return;
	pthread_mutex_lock(&vm->lock);
	if (!vm->open && vm->due && is_settled(vm)) {
		if (options.dry_run) {
			set_due(vm, false);
			goto unlock;
		}
		begin_round(vm);
	}
	if (!vm->open)
		goto unlock;
	work_on_round(vcpu, fd);
	over = vm->open && !vm->workers && !is_work_left(vm);
	if (over)
		end_round(vm);
	else
		wait_for_others(vcpu);
unlock:
	pthread_mutex_unlock(&vm->lock);
	if (over)
		report_json();
}
