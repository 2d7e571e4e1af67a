// SPDX-License-Identifier: GPL-2.0-only
/*
 * The arm64 parts of the fuzzer: VMs of several sizes, with and without eager splitting
 * of blocks, vCPUs before and after KVM_ARM_VCPU_INIT, and the rules of stage-2. KVM
 * has no statistic of what is mapped: count faults, and pre-fault again what is mapped.
 */
#define _GNU_SOURCE

#include "../fuzz/fuzz.h"

/* The guest's page table, behind its code: 1G blocks of normal memory up to 64G */
#define GUEST_TABLE		2048
#define TABLE_ENTRIES		64
#define BLOCK_DESC		(1ull | 3ull << 8 | 1ull << 10)
#define MAIR_NORMAL		0xffull
/* 36 bits, 4K pages, cacheable and shareable walks, no TTBR1 */
#define TCR			(28ull | 1ull << 8 | 1ull << 10 | 3ull << 12 | \
				 1ull << 23 | 1ull << 32)
/* The value after reset, with MMU and caches */
#define SCTLR			(0x00c50078ull | 1ull | 1ull << 2 | 1ull << 12)
#define PSTATE_EL1H		0x3c5ull
#define DEFAULT_IPA_BITS	40

/* Read at x1, write w2 there if it is not 0, and exit. */
static const uint32_t guest_code[] = {
	0xb9400020,	/* ldr w0, [x1] */
	0x34000042,	/* cbz w2, 1f */
	0xb9000022,	/* str w2, [x1] */
	0xd4200000,	/* 1: brk #0 */
};

const bool fz_arch_touches_huge = true;

static struct kvm_vcpu_init init_arg;
static bool eager_split, has_run;
/* Initializing a vCPU that has run keeps the mappings. */
static enum { UNKNOWN, NO, YES } init_keeps_mappings;

void fz_arch_facts_init(void)
{
	char filter[40];

	fz_facts.refuses = ENOEXEC;
	fz_facts.exact = 80;
	fz_facts.guest_end = TABLE_ENTRIES * SZ_1G;
	snprintf(filter, sizeof(filter), "ipa != %#lx", FZ_CODE_GPA);
	fz_faults_init(filter);
}

/* Stage-2 reaches all memslots: try several numbers of levels. */
unsigned long fz_arch_vm_type(void)
{
	static const unsigned int bits[] = { 32, 36, DEFAULT_IPA_BITS, 42, 44, 48 };
	unsigned int limit = kvm_check_cap(KVM_CAP_ARM_VM_IPA_SIZE);
	unsigned int ipa = bits[fz_below(ARRAY_SIZE(bits))];

	if (ipa > limit)
		ipa = DEFAULT_IPA_BITS;
	fz_facts.phys_bits = ipa;
	fz_facts.slot_bits = ipa;
	return ipa == DEFAULT_IPA_BITS ? 0 : KVM_VM_TYPE_ARM_IPA_SIZE(ipa);
}

void fz_arch_vm_init(void)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE,
		.args[0] = SZ_2M,
	};

	/* Without this capability, KVM splits a block when the guest writes to it. */
	eager_split = fz_chance(50) && !ioctl(fz_vm.fd, KVM_ENABLE_CAP, &cap);
	has_run = false;
	FZ_ASSERT(!ioctl(fz_vm.fd, KVM_ARM_PREFERRED_TARGET, &init_arg),
		  "KVM_ARM_PREFERRED_TARGET");
	fz_note("new VM, %u bits, eager splitting %u", fz_facts.phys_bits, eager_split);
}

void fz_arch_guest_code(void *page)
{
	uint64_t *table = page + GUEST_TABLE, i;

	memcpy(page, guest_code, sizeof(guest_code));
	for (i = 0; i < TABLE_ENTRIES; i++)
		table[i] = i * SZ_1G | BLOCK_DESC;
}

static void init_vcpu(struct fz_vcpu *vcpu)
{
	fz_note("vCPU %ld, KVM_ARM_VCPU_INIT", vcpu - fz_vm.vcpus);
	FZ_ASSERT(!ioctl(vcpu->fd, KVM_ARM_VCPU_INIT, &init_arg), "KVM_ARM_VCPU_INIT: %s",
		  strerror(errno));
	vcpu->refuses = 0;
}

/* Have the guest use its page table, and breakpoints exit to userspace. */
static void init_runner(struct fz_vcpu *vcpu)
{
	init_vcpu(vcpu);
	fz_reg_set(vcpu, KVM_ARM64_SYS_REG(SYS_MAIR_EL1), MAIR_NORMAL);
	fz_reg_set(vcpu, KVM_ARM64_SYS_REG(SYS_TCR_EL1), TCR);
	fz_reg_set(vcpu, KVM_ARM64_SYS_REG(SYS_TTBR0_EL1), FZ_CODE_GPA + GUEST_TABLE);
	fz_reg_set(vcpu, KVM_ARM64_SYS_REG(SYS_SCTLR_EL1), SCTLR);
	fz_vcpu_debug(vcpu, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP);
}

void fz_arch_vcpu_init(struct fz_vcpu *vcpu)
{
	vcpu->refuses = ENOEXEC;
	if (vcpu == &fz_vm.vcpus[FZ_RUNNER])
		init_runner(vcpu);
	else if (vcpu == &fz_vm.vcpus[FZ_BLOCKER])
		init_vcpu(vcpu);
}

/*
 * Initialize the vCPU that runs, as VMMs do to reboot a guest. If stage-2 does not make
 * all accesses cacheable, KVM unmaps all memory. Userspace can't know: see the first time.
 */
static void reboot(struct fz_vcpu *vcpu)
{
	struct fz_slot *code = &fz_vm.slots[FZ_CODE_SLOT];

	if (!has_run || fz_map_get(code, FZ_OWN) != FZ_4K)
		return;

	init_runner(vcpu);
	if (init_keeps_mappings == UNKNOWN)
		init_keeps_mappings = fz_pre_fault_again(code->gfn, 1) ? NO : YES;
	else if (init_keeps_mappings == NO)
		FZ_ASSERT(fz_pre_fault_again(code->gfn, 1) == 1, "the code is mapped");
	if (init_keeps_mappings == NO) {
		fz_all_gone();
		fz_map_set(code, FZ_OWN, FZ_4K);
	}
	has_run = false;
}

static void random_regs(struct fz_vcpu *vcpu)
{
	const uint64_t regs[] = {
		KVM_ARM64_SYS_REG(SYS_SCTLR_EL1), KVM_ARM64_SYS_REG(SYS_TCR_EL1),
		KVM_ARM64_SYS_REG(SYS_TTBR0_EL1), KVM_ARM64_SYS_REG(SYS_TTBR1_EL1),
		KVM_ARM64_SYS_REG(SYS_MAIR_EL1), KVM_ARM64_SYS_REG(SYS_VBAR_EL1),
		ARM64_CORE_REG(regs.pc), ARM64_CORE_REG(regs.pstate),
	};

	fz_regs_random(vcpu, regs, ARRAY_SIZE(regs));
}

void fz_arch_vcpu_change(void)
{
	struct fz_vcpu *raw = &fz_vm.vcpus[FZ_RAW];
	unsigned int what = fz_below(100);

	if (what < 60)
		fz_vcpu_touch();
	else if (what < 80)
		fz_vcpu_touch_huge();
	else if (what < 84)
		reboot(&fz_vm.vcpus[FZ_RUNNER]);
	else if (what < 92)
		init_vcpu(raw);
	else
		random_regs(raw);
}

uint32_t fz_arch_touch(struct fz_vcpu *vcpu, struct fz_slot *slot, uint64_t gpa,
		       uint32_t value)
{
	uint64_t faults = fz_nr_faults();

	fz_reg_set(vcpu, ARM64_CORE_REG(regs.regs[1]), gpa);
	fz_reg_set(vcpu, ARM64_CORE_REG(regs.regs[2]), value);
	fz_reg_set(vcpu, ARM64_CORE_REG(regs.pc), FZ_CODE_GPA);
	fz_reg_set(vcpu, ARM64_CORE_REG(regs.pstate), PSTATE_EL1H);
	has_run = true;
	fz_vcpu_run(vcpu, slot, gpa, value);
	fz_check_faults(slot, gpa, value, fz_nr_faults() - faults);

	return fz_reg_get(vcpu, ARM64_CORE_REG(regs.regs[0]));
}

/*
 * The guest's fault on a part of a huge page maps the huge page, and replaces a page
 * table for that. With dirty logging, it maps a 4K page, and replaces a block with a
 * page table that has only this page.
 */
void fz_arch_guest_mapped(struct fz_slot *slot, uint64_t page, bool write)
{
	const enum fz_map map = fz_map_get(slot, page);

	if (!fz_can_be_huge(slot, page)) {
		fz_map_set(slot, page, FZ_4K);
		return;
	}

	if (fz_is_logging(slot)) {
		if (map == FZ_MAYBE && !write) {
			fz_map_set(slot, page, FZ_ANY);
		} else if (map == FZ_NO || write) {
			/* All blocks are write-protected. */
			fz_block_set(slot, page, FZ_2M, FZ_NO);
			if (map != FZ_4K)
				fz_block_set(slot, page, FZ_ANY, FZ_MAYBE);
			fz_map_set(slot, page, FZ_4K);
		}
		return;
	}

	if (map == FZ_NO) {
		fz_block_huge(slot, page);
	} else if (map == FZ_MAYBE || (map != FZ_2M && write)) {
		/* There was a fault only if the page was not mapped, or read-only. */
		fz_block_maybe_huge(slot, page);
	}
}

/*
 * Enabling dirty logging write-protects all mappings, and splits blocks only with eager
 * splitting, even in a read-only slot. Disabling dirty logging keeps the mappings.
 */
void fz_arch_dirty_log_changed(struct fz_slot *slot)
{
	uint64_t page = slot->page;

	if (!(slot->flags & KVM_MEM_LOG_DIRTY_PAGES) || !eager_split)
		return;

	for (; page < slot->page + slot->npages && page < FZ_WINDOW; page++) {
		if (fz_map_get(slot, page) == FZ_2M)
			fz_map_set(slot, page, FZ_4K);
	}
}
