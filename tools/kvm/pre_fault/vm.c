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

#define CODE_GPA	0x1000
#define CODE_SLOT_SIZE	SZ_64K

/* Where VMMs put what KVM needs for Intel CPUs without unrestricted guest. */
#define IDENTITY_MAP	0xfffbc000ULL
#define TSS_ADDR	0xfffbd000UL

#define CR0_PE_ET_NE	0x31
#define RFLAGS_FIXED	0x2

/*
 * Stops once before the loop, so that whatever the first KVM_RUN and the code
 * page cost is not taken for a cost of the memory.  32-bit; in: %esi address,
 * %ecx pages, %eax 0; out: %eax checksum.
 */
static const uint8_t guest_code[] = {
	0xf4,					/*	hlt		     */
	0xc1, 0xc0, 0x05,			/* 1:	rol  $5, %eax	     */
	0x03, 0x06,				/*	add  (%esi), %eax    */
	0x81, 0xc6, 0x00, 0x10, 0x00, 0x00,	/*	add  $0x1000, %esi   */
	0x49,					/*	dec  %ecx	     */
	0x75, 0xf2,				/*	jnz  1b		     */
	0xf4,					/*	hlt		     */
};

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

static int vcpu_set_registers(struct vcpu *vcpu)
{
	struct kvm_segment code = {
		.limit = 0xffffffff, .selector = 0x8, .type = 11,
		.present = 1, .db = 1, .s = 1, .g = 1,
	};
	struct kvm_segment data = code;
	struct kvm_regs regs = {
		.rip = CODE_GPA,
		.rflags = RFLAGS_FIXED,
		.rsi = vcpu->gpa,
		.rcx = vcpu->size / SZ_4K,
	};
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs)) {
		warn("KVM_GET_SREGS");
		return -1;
	}

	data.selector = 0x10;
	data.type = 3;
	sregs.cs = code;
	sregs.ds = data;
	sregs.es = data;
	sregs.fs = data;
	sregs.gs = data;
	sregs.ss = data;
	sregs.cr0 = CR0_PE_ET_NE;

	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs)) {
		warn("KVM_SET_SREGS");
		return -1;
	}
	if (ioctl(vcpu->fd, KVM_SET_REGS, &regs)) {
		warn("KVM_SET_REGS");
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
	return vcpu_set_registers(vcpu);
}

/* Parts begin at a huge page where there are enough of those to share out. */
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
	uint64_t identity_map = IDENTITY_MAP;
	int ret;

	vm->fd = ioctl(kvm_fd, KVM_CREATE_VM, 0UL);
	if (vm->fd < 0) {
		warn("KVM_CREATE_VM");
		return -1;
	}
	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) ||
	    ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDR)) {
		warn("cannot place KVM's own pages in the guest");
		return -1;
	}

	vm->code = mmap(NULL, CODE_SLOT_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vm->code == MAP_FAILED) {
		warn("cannot map memory for the guest's code");
		return -1;
	}
	memcpy(vm->code + CODE_GPA, guest_code, sizeof(guest_code));

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
	/* The VM before its memory: its last reference frees the tables. */
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->code != MAP_FAILED)
		munmap(vm->code, CODE_SLOT_SIZE);
}

/* Until the guest's next HLT. */
int vcpu_run(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;

	while (ioctl(vcpu->fd, KVM_RUN, 0UL)) {
		if (errno != EINTR && errno != EAGAIN) {
			warn("KVM_RUN");
			return -1;
		}
	}

	switch (run->exit_reason) {
	case KVM_EXIT_HLT:
		return 0;
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

/* Did the guest read what was put there? */
int vcpu_check(const struct vcpu *vcpu)
{
	uint32_t want = checksum((vcpu->gpa - MEM_GPA) / SZ_4K,
				 vcpu->size / SZ_4K);
	struct kvm_regs regs;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs)) {
		warn("KVM_GET_REGS");
		return -1;
	}
	if (regs.rsi != vcpu->gpa + vcpu->size || regs.rcx) {
		warnx("the guest stopped at %#llx, not at %#llx", regs.rsi,
		      (unsigned long long)(vcpu->gpa + vcpu->size));
		return -1;
	}
	if (regs.rax != want) {
		warnx("the guest's checksum of [%#llx, %#llx) is %#llx, not %#x",
		      (unsigned long long)vcpu->gpa,
		      (unsigned long long)(vcpu->gpa + vcpu->size), regs.rax,
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
