// SPDX-License-Identifier: GPL-2.0-only
/*
 * The RISC-V parts of the fuzzer: VMs with all sizes of the G-stage, and its rules.  KVM
 * has no statistic of what is mapped: count faults, and pre-fault again what is mapped.
 */
#define _GNU_SOURCE
#include "../fuzz/fuzz.h"

/* Read at a1, write a2 there if it is not 0, and exit. */
static const uint32_t guest_code[] = {
	0x0005a503,	/* lw a0, 0(a1) */
	0x00060463,	/* beqz a2, 1f */
	0x00c5a023,	/* sw a2, 0(a1) */
	0x00100073,	/* 1: ebreak */
};

const bool fz_arch_touches_huge = true;

void fz_arch_facts_init(void)
{
	fz_facts.exact = 80;
	fz_faults_init(NULL);
}

unsigned long fz_arch_vm_type(void)
{
	return 0;
}

/* The G-stage reaches all memslots: try all numbers of levels. */
void fz_arch_vm_init(void)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_VM_GPA_BITS,
		.args[0] = 41 + 9 * fz_below(3),
	};

	if (ioctl(fz_vm.fd, KVM_ENABLE_CAP, &cap))
		fz_note("KVM_CAP_VM_GPA_BITS %llu: errno %d", cap.args[0], errno);
	fz_facts.phys_bits = ioctl(fz_vm.fd, KVM_CHECK_EXTENSION, KVM_CAP_VM_GPA_BITS);
	fz_facts.slot_bits = fz_facts.phys_bits;
	/* QEMU 7.2 takes addresses of the G-stage for signed ones. */
	fz_facts.guest_end = BIT_ULL(fz_facts.slot_bits - 1);
	fz_note("new VM, %u bits", fz_facts.phys_bits);
}

void fz_arch_guest_code(void *page)
{
	memcpy(page, guest_code, sizeof(guest_code));
}

/* The guest uses no page table. */
void fz_arch_vcpu_init(struct fz_vcpu *vcpu)
{
	if (vcpu == &fz_vm.vcpus[FZ_RUNNER])
		fz_vcpu_debug(vcpu, KVM_GUESTDBG_ENABLE);
}

static void random_regs(struct fz_vcpu *vcpu)
{
	const uint64_t regs[] = {
		RISCV_CORE_REG(regs.pc), RISCV_CORE_REG(mode),
		RISCV_GENERAL_CSR_REG(sstatus), RISCV_GENERAL_CSR_REG(satp),
		RISCV_GENERAL_CSR_REG(stvec), RISCV_GENERAL_CSR_REG(sie),
	};

	fz_regs_random(vcpu, regs, ARRAY_SIZE(regs));
}

void fz_arch_vcpu_change(void)
{
	unsigned int what = fz_below(100);

	if (what < 70)
		fz_vcpu_touch();
	else if (what < 92)
		fz_vcpu_touch_huge();
	else
		random_regs(&fz_vm.vcpus[FZ_RAW]);
}

uint32_t fz_arch_touch(struct fz_vcpu *vcpu, struct fz_slot *slot, uint64_t gpa,
		       uint32_t value)
{
	uint64_t faults = fz_nr_faults();

	fz_reg_set(vcpu, RISCV_CORE_REG(regs.a1), gpa);
	fz_reg_set(vcpu, RISCV_CORE_REG(regs.a2), value);
	fz_reg_set(vcpu, RISCV_CORE_REG(regs.pc), FZ_CODE_GPA);
	fz_vcpu_run(vcpu, slot, gpa, value);
	fz_check_faults(slot, gpa, value, fz_nr_faults() - faults);

	return fz_reg_get(vcpu, RISCV_CORE_REG(regs.a0));
}

/*
 * The guest's fault on a part of a huge page maps the huge page, and replaces a page
 * table for that, even one in use. A fault on a page that is mapped changes its leaf only.
 * With dirty logging, a fault maps a 4K page.
 */
void fz_arch_guest_mapped(struct fz_slot *slot, uint64_t page, bool write)
{
	const enum fz_map map = fz_map_get(slot, page);

	if (!fz_can_be_huge(slot, page) || (fz_is_logging(slot) && map == FZ_NO)) {
		fz_map_set(slot, page, FZ_4K);
	} else if (fz_is_logging(slot)) {
		if (map == FZ_MAYBE)
			fz_map_set(slot, page, FZ_ANY);
	} else if (map == FZ_NO) {
		fz_block_huge(slot, page);
	} else if (map == FZ_MAYBE) {
		fz_block_maybe_huge(slot, page);
	}
}

/* KVM refuses a slot that can be written to, if a mapping of the host can't be. */
int fz_arch_slot_errno(const struct fz_slot *slot)
{
	const uint64_t end = min(slot->page + slot->npages, (uint64_t)FZ_WINDOW);
	uint64_t page;
	int err = 0;

	for (page = slot->page; page < end && !(slot->flags & KVM_MEM_READONLY); page++) {
		if (fz_host.page[page] & FZ_MAPPED && !(fz_host.page[page] & FZ_WRITE))
			err = EPERM;
	}

	return err;
}

/* Enabling dirty logging splits all leaves, even those of a read-only slot. */
void fz_arch_dirty_log_changed(struct fz_slot *slot)
{
	uint64_t page = slot->page;

	if (!(slot->flags & KVM_MEM_LOG_DIRTY_PAGES))
		return;

	for (; page < slot->page + slot->npages && page < FZ_WINDOW; page++) {
		if (fz_is_mapped(fz_map_get(slot, page)))
			fz_map_set(slot, page, FZ_4K);
	}
}
