// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fuzzer's VM, with the memslots that KVM makes for itself.
 */
#define _GNU_SOURCE
#include "fuzz.h"

#define KVM_PAGES(n)		(FZ_OWN + 4 + (n))
#define APIC_GPA		0xfee00000ul
/* Not KVM's number of its slots, but different from all user slots */
#define PRIVATE_ID		0xffff

void fz_facts_init(void)
{
	const char *intel = "/sys/module/kvm_intel/parameters/";
	uint32_t eax, ebx, ecx, edx;
	char path[80];

	cpuid(0x80000008, &eax, &ebx, &ecx, &edx);
	fz_facts.phys_bits = eax & 0xff;
	fz_facts.amd = !host_cpu_is_intel;
	fz_facts.svm = fz_facts.amd && kvm_cpu_has(X86_FEATURE_SVM);
	fz_facts.smm = kvm_has_cap(KVM_CAP_X86_SMM);
	fz_facts.tdp_mmu = pf_read_bool("/sys/module/kvm/parameters/tdp_mmu");
	fz_facts.eager_split = pf_read_bool("/sys/module/kvm/parameters/eager_page_split");
	snprintf(path, sizeof(path), "%sflexpriority", intel);
	fz_facts.flexpriority = pf_read_bool(path);
	snprintf(path, sizeof(path), "%sunrestricted_guest", intel);
	fz_facts.unrestricted = fz_facts.amd || pf_read_bool(path);
	snprintf(path, sizeof(path), fz_facts.amd ? "/sys/module/kvm_amd/parameters/avic" :
		 "%senable_apicv", intel);
	fz_facts.apicv = pf_read_bool(path);
}

/* A slot that KVM makes for itself, in both address spaces */
static void kvm_slot(unsigned int nr, uint64_t gpa, uint64_t npages, uint64_t page)
{
	unsigned int as;

	for (as = 0; as < 2; as++) {
		fz_vm.slots[FZ_KVM_SLOTS + 2 * nr + as] = (struct fz_slot) {
			.used = true,
			.apic_access = !nr,
			.id = PRIVATE_ID,
			.as = as,
			.gfn = gpa / PAGE_SIZE,
			.npages = npages,
			.page = page,
		};
	}
}

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
	static const uint64_t tss[] = { 0xfffbd000, 0xe0200000, 0x10000 };
	uint64_t gpa, identity = 0xfffbc000;
	unsigned int i;
	int kvm = open_kvm_dev_path_or_exit();

	fz_vm.fd = ioctl(kvm, KVM_CREATE_VM, 0);
	FZ_ASSERT(fz_vm.fd >= 0, "KVM_CREATE_VM: %s", strerror(errno));
	close(kvm);

	memset(fz_vm.slots, 0, sizeof(fz_vm.slots));
	for (i = 0; i < FZ_KVM_SLOTS; i++)
		fz_vm.slots[i].id = i;

	fz_vm.irqchip = fz_chance(50) && !ioctl(fz_vm.fd, KVM_CREATE_IRQCHIP, 0);
	fz_vm.apicv = fz_facts.apicv && fz_vm.irqchip;
	fz_note("new VM, irqchip %u", fz_vm.irqchip);

	/* KVM creates these two slots only for restricted guests on Intel. */
	gpa = tss[fz_below(ARRAY_SIZE(tss))];
	FZ_ASSERT(!ioctl(fz_vm.fd, KVM_SET_TSS_ADDR, gpa), "KVM_SET_TSS_ADDR");
	if (!fz_facts.unrestricted)
		kvm_slot(1, gpa, 3, KVM_PAGES(1));
	if (!fz_facts.unrestricted && fz_chance(50)) {
		identity = 0xe0300000;
		FZ_ASSERT(!ioctl(fz_vm.fd, KVM_SET_IDENTITY_MAP_ADDR, &identity),
			  "KVM_SET_IDENTITY_MAP_ADDR");
	}
	if (!fz_facts.unrestricted)
		kvm_slot(2, identity, 1, KVM_PAGES(4));
	if (fz_vm.irqchip && (fz_facts.amd ? fz_facts.apicv : fz_facts.flexpriority))
		kvm_slot(0, APIC_GPA, 1, KVM_PAGES(0));

	/* By default the legacy MMU has only 64 page tables at first. */
	if (fz_chance(80))
		FZ_ASSERT(!ioctl(fz_vm.fd, KVM_SET_NR_MMU_PAGES, 4096ul),
			  "KVM_SET_NR_MMU_PAGES");

	fz_vcpu_init();
	own_slot(FZ_CODE_SLOT, FZ_CODE_GPA, FZ_OWN);
	own_slot(FZ_UFFD_SLOT, FZ_UFFD_GPA, FZ_OWN + 1);
	fz_vm.stats_fd = ioctl(fz_vm.fd, KVM_GET_STATS_FD, NULL);
	FZ_ASSERT(fz_vm.stats_fd >= 0, "KVM_GET_STATS_FD");
	fz_vm.recycled = 0;
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
