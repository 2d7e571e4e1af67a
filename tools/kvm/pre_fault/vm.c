// SPDX-License-Identifier: GPL-2.0-only
/* The virtual machine: raw KVM ioctls, no device, no interrupt controller. */
#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pre_fault.h"

#define CODE_SLOT_SIZE	SZ_64K

static uint32_t checksum(uint64_t first_page, uint64_t pages)
{
	uint32_t sum = 0;

	for (uint64_t i = 0; i < pages; i++)
		sum = (sum << 5 | sum >> 27) + page_word(first_page + i);
	return sum;
}

static int set_slot(struct vm *vm, uint32_t slot, uint64_t gpa, void *hva,
		    uint64_t size)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)hva,
	};

	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region)) {
		warn("KVM_SET_USER_MEMORY_REGION");
		return -1;
	}
	return 0;
}

static int vcpu_create(struct vm *vm, unsigned int id)
{
	struct vcpu *vcpu = &vm->vcpus[id];

	vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)id);
	if (vcpu->fd < 0) {
		warn("KVM_CREATE_VCPU %u", id);
		return -1;
	}
	vcpu->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE,
			 MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED) {
		warn("cannot map vCPU %u", id);
		return -1;
	}
	if (stats_open(&vcpu->stats, vcpu->fd))
		return -1;
	return arch_vcpu_init(vm, vcpu);
}

/* Begin the parts at huge pages, if there is one for each vCPU. */
static void share_out(struct vm *vm, uint64_t size)
{
	uint64_t unit = size / vm->nr_vcpus >= SZ_2M ? SZ_2M : SZ_4K;
	uint64_t units = size / unit, nr = vm->nr_vcpus;

	for (uint64_t i = 0; i < nr; i++) {
		uint64_t start = units * i / nr * unit;
		uint64_t end = units * (i + 1) / nr * unit;

		if (i == nr - 1)
			end = size;
		vm->vcpus[i].gpa = MEM_GPA + start;
		vm->vcpus[i].size = end - start;
	}
}

static int vm_setup(struct vm *vm, int kvm_fd, const struct memory *mem)
{
	int ret;

	vm->fd = ioctl(kvm_fd, KVM_CREATE_VM, 0UL);
	if (vm->fd < 0) {
		warn("KVM_CREATE_VM");
		return -1;
	}
	if (arch_vm_init(vm))
		return -1;

	vm->code = mmap(NULL, CODE_SLOT_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vm->code == MAP_FAILED) {
		warn("cannot map memory for the guest's code");
		return -1;
	}
	memcpy(vm->code + CODE_GPA, arch.code, arch.code_size);

	if (set_slot(vm, 0, 0, vm->code, CODE_SLOT_SIZE) ||
	    set_slot(vm, 1, MEM_GPA, mem->hva, mem->size) ||
	    stats_open(&vm->stats, vm->fd))
		return -1;

	ret = ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0UL);
	if (ret < (int)sizeof(struct kvm_run)) {
		warn("KVM_GET_VCPU_MMAP_SIZE");
		return -1;
	}
	vm->run_size = ret;

	share_out(vm, mem->size);
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		if (vcpu_create(vm, i))
			return -1;
	}
	return 0;
}

int vm_create(struct vm *vm, int kvm_fd, const struct memory *mem,
	      unsigned int nr_vcpus)
{
	*vm = (struct vm) {
		.fd = -1,
		.code = MAP_FAILED,
		.nr_vcpus = nr_vcpus,
		.vcpus = calloc(nr_vcpus, sizeof(struct vcpu)),
		.stats.fd = -1,
	};
	if (!vm->vcpus) {
		warn("calloc");
		return -1;
	}
	for (unsigned int i = 0; i < nr_vcpus; i++) {
		vm->vcpus[i].fd = -1;
		vm->vcpus[i].run = MAP_FAILED;
		vm->vcpus[i].stats.fd = -1;
	}

	if (vm_setup(vm, kvm_fd, mem)) {
		vm_destroy(vm);
		return -1;
	}
	return 0;
}

void vm_destroy(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		struct vcpu *vcpu = &vm->vcpus[i];

		stats_close(&vcpu->stats);
		if (vcpu->run != MAP_FAILED)
			munmap(vcpu->run, vm->run_size);
		if (vcpu->fd >= 0)
			close(vcpu->fd);
	}
	free(vm->vcpus);
	stats_close(&vm->stats);
	/* Close the VM before its memory: the last reference frees the page tables. */
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->code != MAP_FAILED)
		munmap(vm->code, CODE_SLOT_SIZE);
}

/* Run until the guest stops the next time. */
int vcpu_run(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;

	while (ioctl(vcpu->fd, KVM_RUN, 0UL)) {
		if (errno != EINTR && errno != EAGAIN) {
			warn("KVM_RUN");
			return -1;
		}
	}

	if (arch_stopped(run))
		return 0;

	switch (run->exit_reason) {
	case KVM_EXIT_FAIL_ENTRY:
		warnx("the CPU refused to enter the guest: reason %#llx",
		      run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		warnx("KVM_RUN: internal error %u", run->internal.suberror);
		break;
	case KVM_EXIT_MMIO:
		warnx("the guest found no memory at %#llx",
		      run->mmio.phys_addr);
		break;
	default:
		warnx("KVM_RUN: unexpected exit reason %u", run->exit_reason);
	}
	return -1;
}

/* Check that the guest read the expected contents. */
int vcpu_check(const struct vcpu *vcpu)
{
	uint32_t want = checksum((vcpu->gpa - MEM_GPA) / SZ_4K,
				 vcpu->size / SZ_4K);
	struct guest_state state;

	if (arch_vcpu_state(vcpu, &state))
		return -1;
	if (state.next != vcpu->gpa + vcpu->size || state.left) {
		warnx("the guest stopped at %#llx, not at %#llx",
		      (unsigned long long)state.next,
		      (unsigned long long)(vcpu->gpa + vcpu->size));
		return -1;
	}
	if (state.sum != want) {
		warnx("the guest's checksum of [%#llx, %#llx) is %#x, not %#x",
		      (unsigned long long)vcpu->gpa,
		      (unsigned long long)(vcpu->gpa + vcpu->size), state.sum,
		      want);
		return -1;
	}
	return 0;
}

int vcpu_pre_fault(struct vcpu *vcpu, uint64_t gpa, uint64_t size)
{
	struct kvm_pre_fault_opts opts = { .next = gpa };

	errno = -kvm_pre_fault_range(&vcpu->fd, 1, gpa, size, &opts);
	if (!errno)
		return 0;
	warn("KVM_PRE_FAULT_MEMORY at %#llx", (unsigned long long)opts.next);
	return -1;
}
