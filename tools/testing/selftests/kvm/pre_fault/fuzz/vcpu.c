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
