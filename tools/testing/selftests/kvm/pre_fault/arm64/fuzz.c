// SPDX-License-Identifier: GPL-2.0-only
/*
 * The arm64 parts of the fuzzer: VMs of several sizes, with and without eager splitting
 * of blocks, vCPUs before and after KVM_ARM_VCPU_INIT, and the rules of stage-2. KVM
 * has no statistic of what is mapped: count faults, and pre-fault again what is mapped.
 */
#define _GNU_SOURCE
#include <linux/perf_event.h>
#include <sys/syscall.h>

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
#define CALLS_PER_CHECK		256

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
static int faults_fd = -1;

/* KVM has a tracepoint for the guest's faults. Count those of data. */
static void count_faults(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
	};
	char filter[40];
	long id = pf_read_long("/sys/kernel/tracing/events/kvm/kvm_guest_fault/id");

	if (id < 0)
		return;
	attr.config = id;
	faults_fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (faults_fd < 0)
		return;
	snprintf(filter, sizeof(filter), "ipa != %#lx", FZ_CODE_GPA);
	FZ_ASSERT(!ioctl(faults_fd, PERF_EVENT_IOC_SET_FILTER, filter),
		  "PERF_EVENT_IOC_SET_FILTER: %s", strerror(errno));
}

static uint64_t nr_faults(void)
{
	uint64_t count = 0;

	FZ_ASSERT(faults_fd < 0 ||
		  read(faults_fd, &count, sizeof(count)) == sizeof(count),
		  "read of a perf event");
	return count;
}

void fz_arch_facts_init(void)
{
	fz_facts.refuses = ENOEXEC;
	fz_facts.exact = 80;
	fz_facts.guest_end = TABLE_ENTRIES * SZ_1G;
	count_faults();
	if (faults_fd < 0)
		ksft_print_msg("the guest's faults can't be counted\n");
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

static int set_reg(struct fz_vcpu *vcpu, uint64_t id, uint64_t value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)&value };

	return ioctl(vcpu->fd, KVM_SET_ONE_REG, &reg) ? errno : 0;
}

static void must_set_reg(struct fz_vcpu *vcpu, uint64_t id, uint64_t value)
{
	int err = set_reg(vcpu, id, value);

	FZ_ASSERT(!err, "KVM_SET_ONE_REG %#lx: %s", id, strerror(err));
}

static uint64_t get_reg(struct fz_vcpu *vcpu, uint64_t id)
{
	uint64_t value;
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)&value };

	FZ_ASSERT(!ioctl(vcpu->fd, KVM_GET_ONE_REG, &reg), "KVM_GET_ONE_REG %#lx", id);
	return value;
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
	struct kvm_guest_debug debug = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP,
	};

	init_vcpu(vcpu);
	must_set_reg(vcpu, KVM_ARM64_SYS_REG(SYS_MAIR_EL1), MAIR_NORMAL);
	must_set_reg(vcpu, KVM_ARM64_SYS_REG(SYS_TCR_EL1), TCR);
	must_set_reg(vcpu, KVM_ARM64_SYS_REG(SYS_TTBR0_EL1), FZ_CODE_GPA + GUEST_TABLE);
	must_set_reg(vcpu, KVM_ARM64_SYS_REG(SYS_SCTLR_EL1), SCTLR);
	FZ_ASSERT(!ioctl(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug), "KVM_SET_GUEST_DEBUG: %s",
		  strerror(errno));
}

void fz_arch_vcpu_init(struct fz_vcpu *vcpu)
{
	vcpu->refuses = ENOEXEC;
	if (vcpu == &fz_vm.vcpus[FZ_RUNNER])
		init_runner(vcpu);
	else if (vcpu == &fz_vm.vcpus[FZ_BLOCKER])
		init_vcpu(vcpu);
}

/* Pre-fault pages, and return how many of them were not mapped. */
static uint64_t pre_fault_again(uint64_t gfn, uint64_t npages)
{
	static const char * const name[] = { "pf_prefaulted" };
	struct fz_vcpu *vcpu = &fz_vm.vcpus[FZ_RUNNER];
	struct kvm_pre_fault_memory range = {
		.gpa = gfn * PAGE_SIZE,
		.size = npages * PAGE_SIZE,
	};
	uint64_t before = vcpu->prefaulted;

	FZ_ASSERT(!ioctl(vcpu->fd, KVM_PRE_FAULT_MEMORY, &range) && !range.size,
		  "pre-fault of gfn %#lx+%#lx: %s, %#llx left", gfn, npages,
		  strerror(errno), range.size);
	fz_read_stats(vcpu->stats_fd, name, 1, &vcpu->prefaulted);
	return vcpu->prefaulted - before;
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
		init_keeps_mappings = pre_fault_again(code->gfn, 1) ? NO : YES;
	else if (init_keeps_mappings == NO)
		FZ_ASSERT(pre_fault_again(code->gfn, 1) == 1, "the code is mapped");
	if (init_keeps_mappings == NO) {
		fz_all_gone();
		fz_map_set(code, FZ_OWN, FZ_4K);
	}
	has_run = false;
}

/* Registers must not change the mappings, whether KVM accepts them or not. */
static void random_regs(struct fz_vcpu *vcpu)
{
	static const uint64_t sys_regs[] = {
		KVM_ARM64_SYS_REG(SYS_SCTLR_EL1), KVM_ARM64_SYS_REG(SYS_TCR_EL1),
		KVM_ARM64_SYS_REG(SYS_TTBR0_EL1), KVM_ARM64_SYS_REG(SYS_TTBR1_EL1),
		KVM_ARM64_SYS_REG(SYS_MAIR_EL1), KVM_ARM64_SYS_REG(SYS_VBAR_EL1),
	};
	struct kvm_mp_state state = {
		.mp_state = fz_below(2) ? KVM_MP_STATE_STOPPED : KVM_MP_STATE_RUNNABLE,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sys_regs); i++)
		set_reg(vcpu, sys_regs[i], fz_random());
	set_reg(vcpu, ARM64_CORE_REG(regs.pc), fz_random());
	set_reg(vcpu, ARM64_CORE_REG(regs.pstate), fz_random());
	fz_note("random registers, mp_state %u: errno %d", state.mp_state,
		ioctl(vcpu->fd, KVM_SET_MP_STATE, &state) ? errno : 0);
}

/* KVM has to see the guest's first write to each page. */
static bool is_logging(const struct fz_slot *slot)
{
	return slot->flags & KVM_MEM_LOG_DIRTY_PAGES &&
	       !(slot->flags & KVM_MEM_READONLY);
}

/*
 * Touch a huge page of the host, or one that was mapped when dirty logging was enabled.
 * Such pages are rare: have the next calls and changes of memslots prefer this one.
 */
static void touch_huge(void)
{
	unsigned int i, start = fz_below(FZ_USER_SLOTS);
	const bool logged = fz_below(2);
	struct fz_slot *slot;
	uint64_t page;

	for (i = 0; i < FZ_USER_SLOTS; i++) {
		slot = &fz_vm.slots[(start + i) % FZ_USER_SLOTS];
		if (!slot->used || (logged && !is_logging(slot)))
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

void fz_arch_vcpu_change(void)
{
	struct fz_vcpu *raw = &fz_vm.vcpus[FZ_RAW];
	unsigned int what = fz_below(100);

	if (what < 60)
		fz_vcpu_touch();
	else if (what < 80)
		touch_huge();
	else if (what < 84)
		reboot(&fz_vm.vcpus[FZ_RUNNER]);
	else if (what < 92)
		init_vcpu(raw);
	else
		random_regs(raw);
}

/*
 * A read faults if the page is not mapped. A write may fault again, as dirty logging,
 * copy-on-write, and a read-only slot need.
 */
static void check_faults(struct fz_slot *slot, uint64_t gpa, bool write, uint64_t faults)
{
	enum fz_map map = fz_map_get(slot, slot->page + gpa / PAGE_SIZE - slot->gfn);

	if (faults_fd < 0)
		return;

	FZ_ASSERT(map != FZ_NO || faults, "no fault on a page that is not mapped");
	FZ_ASSERT(!fz_is_mapped(map) || write || !faults,
		  "%lu faults on a page that is mapped as %u", faults, map);
}

uint32_t fz_arch_touch(struct fz_vcpu *vcpu, struct fz_slot *slot, uint64_t gpa,
		       uint32_t value)
{
	struct kvm_run *run = vcpu->run;
	uint64_t faults = nr_faults();

	must_set_reg(vcpu, ARM64_CORE_REG(regs.regs[1]), gpa);
	must_set_reg(vcpu, ARM64_CORE_REG(regs.regs[2]), value);
	must_set_reg(vcpu, ARM64_CORE_REG(regs.pc), FZ_CODE_GPA);
	must_set_reg(vcpu, ARM64_CORE_REG(regs.pstate), PSTATE_EL1H);
	has_run = true;
	FZ_ASSERT(!ioctl(vcpu->fd, KVM_RUN, NULL), "KVM_RUN: %s", strerror(errno));
	if (value && slot->flags & KVM_MEM_READONLY) {
		FZ_ASSERT(run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write &&
			  run->mmio.phys_addr == gpa,
			  "a read-only slot is written to, exit reason %u",
			  run->exit_reason);
		/* KVM advances the pc when the vCPU runs again. */
		run->immediate_exit = 1;
		FZ_ASSERT(ioctl(vcpu->fd, KVM_RUN, NULL) && errno == EINTR, "KVM_RUN");
		run->immediate_exit = 0;
	} else {
		FZ_ASSERT(run->exit_reason == KVM_EXIT_DEBUG, "the guest's exit reason %u",
			  run->exit_reason);
	}
	check_faults(slot, gpa, value, nr_faults() - faults);

	return get_reg(vcpu, ARM64_CORE_REG(regs.regs[0]));
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

	if (is_logging(slot)) {
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
		fz_block_set(slot, page, FZ_NO, FZ_MAYBE);
		fz_block_set(slot, page, FZ_4K, FZ_ANY);
		fz_map_set(slot, page, FZ_ANY);
	}
}

bool fz_arch_maps_4k(const struct fz_slot *slot)
{
	return is_logging(slot);
}

bool fz_arch_replaces_table(const struct fz_slot *slot, uint64_t page)
{
	return false;
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

/* Only the mappings of this slot are zapped. */
void fz_arch_slot_gone(struct fz_slot *slot)
{
	fz_slot_gone(slot);
}

/* Pre-fault again what is mapped for sure: the model must not have missed a zap. */
static void check_slot(struct fz_slot *slot)
{
	uint64_t start = slot->page, end, new;
	const uint64_t last = slot->page + slot->npages;

	while (start < last && (start < FZ_PAGES || start >= FZ_OWN)) {
		for (end = start; end < last && fz_is_mapped(fz_map_get(slot, end)); end++)
			;
		if (end > start) {
			new = pre_fault_again(slot->gfn + start - slot->page, end - start);
			FZ_ASSERT(!new, "%lu pages of %#lx+%#lx in slot %u are not mapped",
				  new, start, end - start, slot->id);
		}
		start = end + 1;
	}
}

void fz_arch_check_mapped(struct fz_answer *want)
{
	struct fz_slot *slot = fz_vm.slots;

	if (fz_nr_call % CALLS_PER_CHECK)
		return;

	for (; slot < fz_vm.slots + FZ_NR_SLOTS; slot++) {
		if (slot->used && !slot->doomed && slot->sure)
			check_slot(slot);
	}
}
