// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fuzzer's vCPUs: one runs a guest of a few instructions, one is never run and has
 * random registers, and one sleeps in a userfaultfd.
 */
#define _GNU_SOURCE
#include "fuzz.h"

#define WRITTEN		0x5eed1234u

static uint8_t *run_area;
static size_t run_size;

static size_t run_struct_size(void)
{
	int kvm = open_kvm_dev_path_or_exit();
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);

	FZ_ASSERT(size > 0, "KVM_GET_VCPU_MMAP_SIZE");
	close(kvm);
	return size;
}

static void vcpu_create(unsigned int nr)
{
	static const char * const name[] = { "pf_prefaulted" };
	struct fz_vcpu *vcpu = &fz_vm.vcpus[nr];

	*vcpu = (struct fz_vcpu) {};
	vcpu->fd = ioctl(fz_vm.fd, KVM_CREATE_VCPU, nr);
	FZ_ASSERT(vcpu->fd >= 0, "KVM_CREATE_VCPU: %s", strerror(errno));
	vcpu->stats_fd = ioctl(vcpu->fd, KVM_GET_STATS_FD, NULL);
	FZ_ASSERT(vcpu->stats_fd >= 0, "KVM_GET_STATS_FD");
	vcpu->run = mmap(run_area + nr * run_size, run_size,
			 PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			 vcpu->fd, 0);
	FZ_ASSERT(vcpu->run != MAP_FAILED, "mmap() of struct kvm_run");
	fz_read_stats(vcpu->stats_fd, name, 1, &vcpu->prefaulted);
	fz_arch_vcpu_init(vcpu);
}

void fz_vcpu_init(void)
{
	unsigned int i;

	if (!run_area) {
		run_size = run_struct_size();
		run_area = mmap(NULL, run_size * FZ_NR_VCPUS, PROT_NONE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		FZ_ASSERT(run_area != MAP_FAILED, "mmap()");
	}

	fz_arch_guest_code(fz_host.mem + FZ_OWN * PAGE_SIZE);
	for (i = 0; i < FZ_NR_VCPUS; i++)
		vcpu_create(i);
}

void fz_vcpu_reset(void)
{
	unsigned int i;

	for (i = 0; i < FZ_NR_VCPUS; i++) {
		mmap(run_area + i * run_size, run_size, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		close(fz_vm.vcpus[i].stats_fd);
		close(fz_vm.vcpus[i].fd);
	}
}

int __fz_reg_set(struct fz_vcpu *vcpu, uint64_t id, uint64_t value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)&value };

	return ioctl(vcpu->fd, KVM_SET_ONE_REG, &reg) ? errno : 0;
}

void fz_reg_set(struct fz_vcpu *vcpu, uint64_t id, uint64_t value)
{
	int err = __fz_reg_set(vcpu, id, value);

	FZ_ASSERT(!err, "KVM_SET_ONE_REG %#lx: %s", id, strerror(err));
}

uint64_t fz_reg_get(struct fz_vcpu *vcpu, uint64_t id)
{
	uint64_t value;
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)&value };

	FZ_ASSERT(!ioctl(vcpu->fd, KVM_GET_ONE_REG, &reg), "KVM_GET_ONE_REG %#lx", id);
	return value;
}

void fz_regs_random(struct fz_vcpu *vcpu, const uint64_t *ids, unsigned int nr)
{
	struct kvm_mp_state state = {
		.mp_state = fz_below(2) ? KVM_MP_STATE_STOPPED : KVM_MP_STATE_RUNNABLE,
	};
	unsigned int i;

	for (i = 0; i < nr; i++)
		__fz_reg_set(vcpu, ids[i], fz_random());
	fz_note("random registers, mp_state %u: errno %d", state.mp_state,
		ioctl(vcpu->fd, KVM_SET_MP_STATE, &state) ? errno : 0);
}

void fz_vcpu_debug(struct fz_vcpu *vcpu, uint32_t control)
{
	struct kvm_guest_debug debug = { .control = control };

	FZ_ASSERT(!ioctl(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug), "KVM_SET_GUEST_DEBUG: %s",
		  strerror(errno));
}

void fz_vcpu_run(struct fz_vcpu *vcpu, const struct fz_slot *slot, uint64_t gpa,
		 bool write)
{
	struct kvm_run *run = vcpu->run;

	FZ_ASSERT(!ioctl(vcpu->fd, KVM_RUN, NULL), "KVM_RUN: %s", strerror(errno));
	if (!write || !(slot->flags & KVM_MEM_READONLY)) {
		FZ_ASSERT(run->exit_reason == KVM_EXIT_DEBUG, "the guest's exit reason %u",
			  run->exit_reason);
		return;
	}

	FZ_ASSERT(run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write &&
		  run->mmio.phys_addr == gpa,
		  "a read-only slot is written to, exit reason %u", run->exit_reason);
	/* KVM advances the pc when the vCPU runs again. */
	run->immediate_exit = 1;
	FZ_ASSERT(ioctl(vcpu->fd, KVM_RUN, NULL) && errno == EINTR, "KVM_RUN");
	run->immediate_exit = 0;
}

void fz_vcpu_touch_page(struct fz_slot *slot, uint64_t page)
{
	const uint64_t gfn = slot->gfn + page - slot->page;
	struct fz_vcpu *vcpu = &fz_vm.vcpus[FZ_RUNNER];
	uint32_t got, word;
	bool write;

	if (slot->as || slot - fz_vm.slots >= FZ_USER_SLOTS || vcpu->as ||
	    gfn >= fz_facts.guest_end / PAGE_SIZE || fz_host_errno(page))
		return;
	if (!fz_arch_touches_huge && page < FZ_WINDOW &&
	    fz_host.huge[page / FZ_BLOCK])
		return;

	write = page < FZ_WINDOW && fz_host.page[page] & FZ_WRITE &&
		(slot->flags & KVM_MEM_READONLY || fz_below(2));
	fz_note("guest %s gfn %#lx, page %#lx", write ? "writes" : "reads", gfn,
		page);
	got = fz_arch_touch(vcpu, slot, gfn * PAGE_SIZE, write ? WRITTEN : 0);
	write = write && !(slot->flags & KVM_MEM_READONLY);

	/* The guest and the host must see the same contents. */
	word = READ_ONCE(*(uint32_t *)(fz_host.mem + page * PAGE_SIZE));
	FZ_ASSERT(word == (write ? WRITTEN : got), "the host has %#x, the guest %#x",
		  word, got);

	fz_arch_guest_mapped(&fz_vm.slots[FZ_CODE_SLOT], FZ_OWN, false);
	fz_arch_guest_mapped(slot, page, false);
	if (write) {
		fz_host_written(page);
		fz_arch_guest_mapped(slot, page, true);
	}
}

/* Such pages are rare: have the next calls and changes of memslots prefer this one. */
void fz_vcpu_touch_huge(void)
{
	unsigned int i, start = fz_below(FZ_USER_SLOTS);
	const bool logged = fz_below(2);
	struct fz_slot *slot;
	uint64_t page;

	for (i = 0; i < FZ_USER_SLOTS; i++) {
		slot = &fz_vm.slots[(start + i) % FZ_USER_SLOTS];
		if (!slot->used || (logged && !fz_is_logging(slot)))
			continue;
		page = (slot->page + FZ_BLOCK - 1) & ~(FZ_BLOCK - 1ul);
		for (; page < slot->page + slot->npages; page += FZ_BLOCK) {
			if (!fz_can_be_huge(slot, page) ||
			    (logged && !fz_is_mapped(fz_map_get(slot, page))))
				continue;
			fz_vm.last_gfn = slot->gfn + page - slot->page;
			fz_vcpu_touch_page(slot, page + fz_below(FZ_BLOCK));
			return;
		}
	}
}

void fz_vcpu_touch(void)
{
	struct fz_slot *slot = fz_slot_at(0, fz_vm.last_gfn);
	uint64_t off = fz_vm.last_gfn;

	/* Prefer the page of the last call. */
	if (slot && fz_below(2)) {
		off -= slot->gfn;
	} else {
		slot = fz_random_slot();
		off = fz_below(min(slot->npages, 4096ul));
	}
	fz_vcpu_touch_page(slot, slot->page + off);
}
