// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fuzzer's calls: make a random call, and compare errno, progress, the struct and
 * the statistics with the model's prediction.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <time.h>

#include "fuzz.h"

#define MAX_ERRNO	256
#define SIGNAL_NS	300000
#define SIGNAL_REPEAT	200000

/* Three pages for the struct: read-write, read-only, none */
static uint8_t *arg_pages;
static timer_t timer;
static uint64_t seen[MAX_ERRNO], partial, exact, calls, bad_args;
/* A page that no call may reach; -1 for none */
static uint64_t forbidden = -1ul;

static void on_signal(int sig)
{
}

void fz_call_init(void)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct sigevent event = {
		.sigev_notify = SIGEV_SIGNAL,
		.sigev_signo = SIGUSR1,
	};

	FZ_ASSERT(!sigaction(SIGUSR1, &action, NULL) &&
		  !timer_create(CLOCK_MONOTONIC, &event, &timer), "timer");
	arg_pages = mmap(NULL, 3 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	FZ_ASSERT(arg_pages != MAP_FAILED &&
		  !munmap(arg_pages + 2 * PAGE_SIZE, PAGE_SIZE), "mmap()");
	/* Reserve the third page, so that no other mapping takes its place. */
	FZ_ASSERT(mmap(arg_pages + 2 * PAGE_SIZE, PAGE_SIZE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
		  MAP_FAILED, "mmap()");
}

static uint64_t random_gpa(struct fz_slot *near)
{
	const uint64_t edges[] = {
		0, 1ul << 20, 0xfee00000, FZ_CODE_GPA, 1ul << 32, 1ul << 39,
		1ul << (fz_facts.phys_bits & 63), 1ul << 48, 1ul << 51,
		1ul << 52, 1ul << 57, 1ul << 63, 0,
	};
	uint64_t gfn, n;

	/* Few pages are poisoned: prefer them. */
	if (fz_host.poisoned && fz_chance(20)) {
		gfn = fz_gfn_of_page(fz_host.last_poisoned);
		if (gfn != -1ul)
			return gfn * PAGE_SIZE;
	}
	/* Prefer the slot of the last call, whose pages are mapped. */
	if (!near && fz_chance(40))
		near = fz_slot_at(0, fz_vm.last_gfn);
	if (!near)
		near = fz_random_slot();
	switch (fz_below(20)) {
	case 0:
		return fz_random() & ~(PAGE_SIZE - 1ul);
	case 1:
		n = edges[fz_below(ARRAY_SIZE(edges))];
		return n + (fz_below(5) - 2) * PAGE_SIZE;
	case 2:
		gfn = near->gfn - 1 - fz_below(3);
		break;
	case 3:
	case 4:
		gfn = near->gfn + near->npages - fz_below(4);
		break;
	case 5 ... 10:
		gfn = near->gfn + fz_below(near->npages);
		break;
	case 11:
		gfn = (near->gfn + fz_below(near->npages)) & ~(FZ_BLOCK - 1ul);
		break;
	default:
		gfn = near->gfn + fz_below(min(near->npages, 64ul));
		break;
	}

	return gfn * PAGE_SIZE;
}

static uint64_t random_size(uint64_t gpa)
{
	const uint64_t edges[] = {
		0, -gpa, -gpa - PAGE_SIZE, -gpa + PAGE_SIZE, 1ul << 63,
		~(PAGE_SIZE - 1ul), 1ul << 52, 1ul << 40,
	};

	switch (fz_below(100)) {
	case 0 ... 3:
		return edges[fz_below(ARRAY_SIZE(edges))];
	case 4:
		return fz_random() & ~(PAGE_SIZE - 1ul);
	case 5 ... 20:
		return PAGE_SIZE;
	case 21 ... 70:
		return PAGE_SIZE * (1 + fz_below(32));
	case 71 ... 96:
		return PAGE_SIZE * (1 + fz_below(2 * FZ_BLOCK));
	default:
		return PAGE_SIZE * (1 + fz_below(FZ_WINDOW));
	}
}

static void random_range(struct fz_call *call, struct fz_slot *near)
{
	struct kvm_pre_fault_memory *range = &call->range;
	unsigned int i;

	range->gpa = random_gpa(near);
	range->size = random_size(range->gpa);
	range->flags = 0;

	switch (fz_below(60)) {
	case 0:
		range->gpa += 1 + fz_below(PAGE_SIZE - 1);
		break;
	case 1:
		range->size += 1 + fz_below(PAGE_SIZE - 1);
		break;
	case 2:
		range->flags = 1ul << fz_below(64);
		break;
	case 3:
		range->flags = fz_random();
		break;
	}

	for (i = 0; i < ARRAY_SIZE(range->padding); i++)
		range->padding[i] = fz_random();
}

/* Place the struct, aligned or not, in memory of any access. */
static void place_struct(struct fz_call *call)
{
	const size_t size = sizeof(call->range);
	uint8_t *rw = arg_pages, *ro = rw + PAGE_SIZE, *none = ro + PAGE_SIZE;

	call->readable = true;
	call->writable = true;
	call->argp = rw + fz_below(PAGE_SIZE - size + 1);
	if (fz_chance(92))
		return;

	bad_args++;
	call->writable = false;
	switch (fz_below(7)) {
	case 0:
	case 1:
		call->argp = ro + fz_below(PAGE_SIZE - size + 1);
		return;
	case 2:
		/* Only the start is writable; KVM may or may not write it. */
		call->argp = ro - 1 - fz_below(size - 1);
		return;
	case 3:
		call->argp = none - 1 - fz_below(size - 1);
		break;
	case 4:
		call->argp = none + fz_below(PAGE_SIZE);
		break;
	case 5:
		call->argp = (void *)(fz_random() | 1ul << 63);
		break;
	case 6:
		call->argp = (void *)fz_below(PAGE_SIZE);
		break;
	}
	call->readable = false;
}

static void store(const struct fz_call *call)
{
	if (!call->readable)
		return;

	/* Make the read-only page writable to store the struct. */
	FZ_ASSERT(call->writable ||
		  !mprotect(arg_pages + PAGE_SIZE, PAGE_SIZE,
			    PROT_READ | PROT_WRITE), "mprotect()");
	memcpy(call->argp, &call->range, sizeof(call->range));
	FZ_ASSERT(call->writable ||
		  !mprotect(arg_pages + PAGE_SIZE, PAGE_SIZE, PROT_READ),
		  "mprotect()");
}

static int issue(struct fz_vcpu *vcpu, const struct fz_call *call, bool signals)
{
	struct itimerspec when = {
		.it_value.tv_nsec = 1 + (signals ? fz_below(SIGNAL_NS) : 0),
		.it_interval.tv_nsec = SIGNAL_REPEAT,
	}, never = {};
	int ret, err;

	if (signals)
		timer_settime(timer, 0, &when, NULL);
	ret = ioctl(vcpu->fd, KVM_PRE_FAULT_MEMORY, call->argp);
	err = ret ? errno : 0;
	if (signals)
		timer_settime(timer, 0, &never, NULL);

	FZ_ASSERT(!ret || ret == -1, "the ioctl returned %d", ret);
	return err;
}

/* Return the progress by the struct; all but gpa and size must be unchanged. */
static uint64_t check_struct(const struct fz_call *call)
{
	struct kvm_pre_fault_memory got, want = call->range;
	uint64_t done;

	memcpy(&got, call->argp, sizeof(got));
	done = got.gpa - want.gpa;
	want.gpa += done;
	want.size -= done;
	FZ_ASSERT(!memcmp(&got, &want, sizeof(got)),
		  "handed back: gpa %#llx, size %#llx, flags %#llx", got.gpa,
		  got.size, got.flags);
	return done;
}

static void check_pages(struct fz_vcpu *vcpu, struct fz_answer *want)
{
	static const char * const name[] = { "pf_prefaulted" };
	uint64_t prefaulted, new;

	fz_read_stats(vcpu->stats_fd, name, 1, &prefaulted);
	new = prefaulted - vcpu->prefaulted;
	vcpu->prefaulted = prefaulted;

	fz_note("  errno %d, %#lx done, %lu new of %lu to %lu", want->err,
		want->done, new, want->min_pages, want->max_pages);
	fz_arch_check_mapped(want);

	exact += want->min_pages == want->max_pages;
	FZ_ASSERT(new >= want->min_pages && new <= want->max_pages,
		  "pf_prefaulted +%lu, expected %lu to %lu", new,
		  want->min_pages, want->max_pages);
}

/* Note the memslot of the call, and the state of the first page. */
static void note_slot(uint8_t as, uint64_t gpa)
{
	struct fz_slot *slot = fz_slot_at(as, gpa / PAGE_SIZE);
	uint64_t page;

	if (!slot)
		return;
	page = slot->page + gpa / PAGE_SIZE - slot->gfn;
	fz_note("  slot %u:%u gfn %#lx+%#lx flags %u", slot->as, slot->id,
		slot->gfn, slot->npages, slot->flags);
	fz_note("  page %#lx of %#lx: errno %d, host %#x%s, mapped as %u", page,
		slot->page, fz_host_errno(page),
		page < FZ_WINDOW ? fz_host.page[page] : 0,
		page < FZ_WINDOW && fz_host.huge[page / FZ_BLOCK] ? " huge" : "",
		page < FZ_PAGES ? slot->map[page] : 0);
}

static int call_once(struct fz_vcpu *vcpu, const struct fz_call *call,
		     bool signals, int also)
{
	struct fz_answer want = fz_predict(vcpu, call);
	uint64_t done = want.done;
	int err;

	store(call);
	fz_note("vCPU %ld: gpa %#llx size %#llx flags %#llx arg %u%u%s",
		vcpu - fz_vm.vcpus, call->range.gpa, call->range.size,
		call->range.flags, call->readable, call->writable,
		signals ? ", signals" : "");
	note_slot(vcpu->as, call->range.gpa);
	err = issue(vcpu, call, signals);
	if (call->writable)
		done = check_struct(call);
	calls++;
	seen[err < MAX_ERRNO ? err : 0]++;
	partial += !err && done < call->range.size;

	/* A signal may shorten the call, but must not change anything else. */
	if (signals && (done < want.done || err == EINTR)) {
		FZ_ASSERT(err == (done ? 0 : EINTR), "errno %d, %#lx done", err,
			  done);
	} else if (err == also) {
		FZ_ASSERT(!done, "errno %d, %#lx done", err, done);
	} else {
		FZ_ASSERT(err == want.err, "errno %d (%s), expected %d (%s)", err,
			  strerror(err), want.err, strerror(want.err));
		FZ_ASSERT(done == want.done, "%#lx done, expected %#lx", done,
			  want.done);
	}

	/* Use the prediction, which does not depend on the time of a signal. */
	if (want.done && !vcpu->as)
		fz_vm.last_gfn = call->range.gpa / PAGE_SIZE;

	want.min_pages = 0;
	want.max_pages = 0;
	fz_mapped(vcpu->as, call->range.gpa, done, &want);
	check_pages(vcpu, &want);
	return err;
}

void fz_call_forbid(uint64_t gpa)
{
	forbidden = gpa;
}

void fz_call_random(struct fz_slot *near, bool signals)
{
	struct fz_call call = {};

	random_range(&call, near);
	if (forbidden - call.range.gpa < call.range.size)
		call.range.size = 0;
	place_struct(&call);
	call_once(&fz_vm.vcpus[fz_below(2)], &call, signals && call.writable, -1);
}

bool fz_call_may_be_eagain(struct fz_slot *slot)
{
	struct fz_call call = {
		.range.gpa = slot->gfn * PAGE_SIZE,
		.range.size = PAGE_SIZE,
		.argp = arg_pages,
		.readable = true,
		.writable = true,
	};

	return call_once(&fz_vm.vcpus[FZ_RUNNER], &call, false, EAGAIN) == EAGAIN;
}

void fz_call_report(void)
{
	unsigned int i;

	for (i = 0; i < MAX_ERRNO; i++) {
		if (seen[i])
			ksft_print_msg("%s: %lu calls\n",
				       i ? strerrorname_np(i) : "success", seen[i]);
	}
	ksft_print_msg("%lu calls in all, %lu predicted exactly\n", calls, exact);
	ksft_print_msg("%lu with partial progress, %lu with a bad struct\n",
		       partial, bad_args);
}

/* Check that every errno that is possible here was among the answers. */
bool fz_call_all_seen(bool eagain)
{
	const struct {
		int err;
		bool possible;
	} wanted[] = {
		{ 0, true },
		{ EINVAL, true },
		{ EFAULT, true },
		{ ENOENT, true },
		{ EINTR, true },
		{ EAGAIN, eagain },
		{ EHWPOISON, fz_host.poisoned == FZ_MAX_POISONED },
		{ fz_facts.refuses, fz_facts.refuses },
	};
	bool all = partial;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(wanted); i++) {
		if (wanted[i].possible && !seen[wanted[i].err]) {
			ksft_print_msg("never seen: %s\n",
				       strerrorname_np(wanted[i].err));
			all = false;
		}
	}

	return all;
}

/* Most predictions must be exact: bounds could hide a failure. */
bool fz_call_exact_enough(void)
{
	return exact * 100 >= calls * fz_facts.exact;
}
