// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fuzzer's VM.
 */
#define _GNU_SOURCE
#include "fuzz.h"

static void own_slot(unsigned int nr, uint64_t gpa, uint64_t page)
{
	fz_vm.slots[nr].gfn = gpa / PAGE_SIZE;
	fz_vm.slots[nr].npages = 1;
	fz_vm.slots[nr].page = page;
	fz_vm.slots[nr].used = true;
	fz_slot_set(&fz_vm.slots[nr], 1);
}

static void create_vm(void)
{
	unsigned int i;
	int kvm = open_kvm_dev_path_or_exit();

	fz_vm.fd = ioctl(kvm, KVM_CREATE_VM, fz_arch_vm_type());
	FZ_ASSERT(fz_vm.fd >= 0, "KVM_CREATE_VM: %s", strerror(errno));
	close(kvm);

	memset(fz_vm.slots, 0, sizeof(fz_vm.slots));
	for (i = 0; i < FZ_KVM_SLOTS; i++)
		fz_vm.slots[i].id = i;

	fz_arch_vm_init();
	fz_vcpu_init();
	own_slot(FZ_CODE_SLOT, FZ_CODE_GPA, FZ_OWN);
	own_slot(FZ_UFFD_SLOT, FZ_UFFD_GPA, FZ_OWN + 1);
	fz_vm.stats_fd = ioctl(fz_vm.fd, KVM_GET_STATS_FD, NULL);
	FZ_ASSERT(fz_vm.stats_fd >= 0, "KVM_GET_STATS_FD");
}

void fz_vm_init(void)
{
	create_vm();
}

void fz_vm_renew(void)
{
	fz_vcpu_reset();
	close(fz_vm.stats_fd);
	close(fz_vm.fd);
	fz_host_fill_holes();
	create_vm();
}
