// SPDX-License-Identifier: GPL-2.0-only
/*
 * The x86 parts of the fuzzer: KVM's own memslots, SMM, CPUID and nested guests, the
 * rules of the TDP MMU and of the legacy MMU, and the statistics of what is mapped.
 */
#define _GNU_SOURCE
#include "../fuzz/fuzz.h"
#include "svm_util.h"

#define KVM_PAGES(n)		(FZ_OWN + 4 + (n))
#define APIC_GPA		0xfee00000ul
/* Below the APIC, and within 32 bits */
#define GUEST_END		0xc0000000ul
/* Not KVM's number of its slots, but different from all user slots */
#define PRIVATE_ID		0xffff
#define GUEST_PORT		0x10

/* Read at ebx, write ecx there if it is not 0, and exit. */
static const uint8_t guest_code[] = {
	0x8b, 0x03,		/* mov (%ebx), %eax */
	0x85, 0xc9,		/* test %ecx, %ecx */
	0x74, 0x02,		/* jz 1f */
	0x89, 0x0b,		/* mov %ecx, (%ebx) */
	0xe6, GUEST_PORT,	/* 1: out %al, $GUEST_PORT */
};

const bool fz_arch_touches_huge;

static struct {
	bool amd;
	bool svm;
	bool tdp_mmu;
	bool eager_split;
	bool flexpriority;
	bool apicv;
	bool unrestricted;
} facts;

/* The page tables that the legacy MMU has recycled in this VM */
static uint64_t recycled;

void fz_arch_facts_init(void)
{
	const char *intel = "/sys/module/kvm_intel/parameters/";
	uint32_t eax, ebx, ecx, edx;
	char path[80];

	cpuid(0x80000008, &eax, &ebx, &ecx, &edx);
	fz_facts.phys_bits = eax & 0xff;
	/* Four levels */
	fz_facts.slot_bits = min(fz_facts.phys_bits, 47u);
	fz_facts.guest_end = GUEST_END;
	facts.amd = !host_cpu_is_intel;
	facts.svm = facts.amd && kvm_cpu_has(X86_FEATURE_SVM);
	fz_facts.smm = kvm_has_cap(KVM_CAP_X86_SMM);
	facts.tdp_mmu = pf_read_bool("/sys/module/kvm/parameters/tdp_mmu");
	facts.eager_split = pf_read_bool("/sys/module/kvm/parameters/eager_page_split");
	snprintf(path, sizeof(path), "%sflexpriority", intel);
	facts.flexpriority = pf_read_bool(path);
	snprintf(path, sizeof(path), "%sunrestricted_guest", intel);
	facts.unrestricted = facts.amd || pf_read_bool(path);
	snprintf(path, sizeof(path), facts.amd ? "/sys/module/kvm_amd/parameters/avic" :
		 "%senable_apicv", intel);
	facts.apicv = pf_read_bool(path);
	fz_facts.refuses = facts.svm && PF_REFUSES_L2 ? EOPNOTSUPP : 0;
	fz_facts.exact = facts.tdp_mmu ? 80 : 60;
}

unsigned long fz_arch_vm_type(void)
{
	return 0;
}

/* A slot that KVM makes for itself, in both address spaces */
static void kvm_slot(unsigned int nr, uint64_t gpa, uint64_t npages, bool unmappable,
		     uint64_t page)
{
	unsigned int as;

	for (as = 0; as < 2; as++) {
		fz_vm.slots[FZ_KVM_SLOTS + 2 * nr + as] = (struct fz_slot) {
			.used = true,
			.unmappable = unmappable,
			.id = PRIVATE_ID,
			.as = as,
			.gfn = gpa / PAGE_SIZE,
			.npages = npages,
			.page = page,
		};
	}
}

void fz_arch_vm_init(void)
{
	static const uint64_t tss[] = { 0xfffbd000, 0xe0200000, 0x10000 };
	uint64_t gpa, identity = 0xfffbc000;
	bool irqchip, apicv;

	irqchip = fz_chance(50) && !ioctl(fz_vm.fd, KVM_CREATE_IRQCHIP, 0);
	apicv = facts.apicv && irqchip;
	fz_note("new VM, irqchip %u", irqchip);

	/* KVM creates these two slots only for restricted guests on Intel. */
	gpa = tss[fz_below(ARRAY_SIZE(tss))];
	FZ_ASSERT(!ioctl(fz_vm.fd, KVM_SET_TSS_ADDR, gpa), "KVM_SET_TSS_ADDR");
	if (!facts.unrestricted)
		kvm_slot(1, gpa, 3, false, KVM_PAGES(1));
	if (!facts.unrestricted && fz_chance(50)) {
		identity = 0xe0300000;
		FZ_ASSERT(!ioctl(fz_vm.fd, KVM_SET_IDENTITY_MAP_ADDR, &identity),
			  "KVM_SET_IDENTITY_MAP_ADDR");
	}
	if (!facts.unrestricted)
		kvm_slot(2, identity, 1, false, KVM_PAGES(4));
	if (irqchip && (facts.amd ? facts.apicv : facts.flexpriority))
		kvm_slot(0, APIC_GPA, 1, !apicv, KVM_PAGES(0));

	/* By default the legacy MMU has only 64 page tables at first. */
	if (fz_chance(80))
		FZ_ASSERT(!ioctl(fz_vm.fd, KVM_SET_NR_MMU_PAGES, 4096ul),
			  "KVM_SET_NR_MMU_PAGES");
	recycled = 0;
}

void fz_arch_guest_code(void *page)
{
	memcpy(page, guest_code, sizeof(guest_code));
}

void fz_arch_vcpu_init(struct fz_vcpu *vcpu)
{
}

static void flat(struct kvm_segment *seg, uint8_t type)
{
	*seg = (struct kvm_segment) {
		.limit = -1u,
		.selector = 8,
		.type = type,
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};
}

/* 32 bits, no paging */
uint32_t fz_arch_touch(struct fz_vcpu *vcpu, struct fz_slot *slot, uint64_t gpa,
		       uint32_t value)
{
	struct kvm_regs regs = {
		.rip = FZ_CODE_GPA,
		.rflags = 2,
		.rbx = gpa,
		.rcx = value,
	};
	struct kvm_sregs sregs;

	FZ_ASSERT(!ioctl(vcpu->fd, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	flat(&sregs.cs, 11);
	flat(&sregs.ds, 3);
	flat(&sregs.es, 3);
	flat(&sregs.ss, 3);
	sregs.cr0 = X86_CR0_PE | X86_CR0_ET;
	FZ_ASSERT(!ioctl(vcpu->fd, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	FZ_ASSERT(!ioctl(vcpu->fd, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	FZ_ASSERT(!ioctl(vcpu->fd, KVM_RUN, NULL), "KVM_RUN: %s",
		  strerror(errno));
	if (value && slot->flags & KVM_MEM_READONLY) {
		FZ_ASSERT(vcpu->run->exit_reason == KVM_EXIT_MMIO &&
			  vcpu->run->mmio.phys_addr == gpa,
			  "a read-only slot is written to, exit reason %u",
			  vcpu->run->exit_reason);
		/* The access is completed before the exit. */
		vcpu->run->immediate_exit = 1;
		FZ_ASSERT(ioctl(vcpu->fd, KVM_RUN, NULL) && errno == EINTR,
			  "KVM_RUN");
		vcpu->run->immediate_exit = 0;
	} else {
		FZ_ASSERT(vcpu->run->exit_reason == KVM_EXIT_IO &&
			  vcpu->run->io.port == GUEST_PORT,
			  "the guest's exit reason %u", vcpu->run->exit_reason);
	}

	FZ_ASSERT(!ioctl(vcpu->fd, KVM_GET_REGS, &regs), "KVM_GET_REGS");
	return regs.rax;
}

static void toggle_smm(struct fz_vcpu *vcpu)
{
	struct kvm_vcpu_events events;

	if (!fz_facts.smm || vcpu->refuses)
		return;

	vcpu->as = !vcpu->as;
	fz_note("vCPU %ld, SMM %u", vcpu - fz_vm.vcpus, vcpu->as);
	FZ_ASSERT(!ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events),
		  "KVM_GET_VCPU_EVENTS");
	events.flags = KVM_VCPUEVENT_VALID_SMM;
	events.smi.smm = vcpu->as;
	FZ_ASSERT(!ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events),
		  "KVM_SET_VCPU_EVENTS");
}

/* CPUID must not change the mappings, nor the pages that can be mapped. */
static void random_cpuid(struct fz_vcpu *vcpu, bool as_it_is)
{
	static const uint8_t bits[] = { 32, 36, 39, 40, 46, 48, 52 };
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[100];
	} cpuid;
	const struct kvm_cpuid2 *supported = kvm_get_supported_cpuid();
	unsigned int i;

	cpuid.head.nent = min(supported->nent, 100u);
	memcpy(cpuid.entries, supported->entries,
	       cpuid.head.nent * sizeof(cpuid.entries[0]));
	for (i = 0; i < cpuid.head.nent && !as_it_is; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid.entries[i];

		if (e->function == 0x80000008)
			e->eax = (e->eax & ~0xffu) | bits[fz_below(sizeof(bits))];
	}
	fz_note("KVM_SET_CPUID2: errno %d",
		ioctl(vcpu->fd, KVM_SET_CPUID2, &cpuid) ? errno : 0);
}

/* Set any mode, valid or not: registers must not change the mappings. */
static void random_regs(struct fz_vcpu *vcpu)
{
	static const uint64_t cr0s[] = {
		0x60000010, X86_CR0_PE, X86_CR0_PE | X86_CR0_PG,
		X86_CR0_PE | X86_CR0_PG | X86_CR0_WP,
	};
	static const uint64_t cr4s[] = {
		0, X86_CR4_PAE, X86_CR4_PAE | X86_CR4_PSE, X86_CR4_PSE,
		X86_CR4_PAE | X86_CR4_LA57, X86_CR4_PAE | X86_CR4_SMEP,
	};
	static const uint64_t efers[] = {
		0, EFER_LME, EFER_LME | EFER_LMA, EFER_LME | EFER_LMA | EFER_NX,
	};
	struct kvm_regs regs;
	struct kvm_sregs2 sregs;
	uint64_t *word = (uint64_t *)&regs;
	unsigned int i;

	for (i = 0; i < sizeof(regs) / sizeof(*word); i++)
		word[i] = fz_random();
	ioctl(vcpu->fd, KVM_SET_REGS, &regs);

	FZ_ASSERT(!ioctl(vcpu->fd, KVM_GET_SREGS2, &sregs), "KVM_GET_SREGS2");
	sregs.cr0 = cr0s[fz_below(ARRAY_SIZE(cr0s))];
	sregs.cr3 = fz_below(1ul << 32) & ~(PAGE_SIZE - 1ul);
	sregs.cr4 = cr4s[fz_below(ARRAY_SIZE(cr4s))];
	sregs.efer = efers[fz_below(ARRAY_SIZE(efers))];
	sregs.flags = 0;
	fz_note("KVM_SET_SREGS2: cr0 %#llx cr4 %#llx efer %#llx: errno %d",
		sregs.cr0, sregs.cr4, sregs.efer,
		ioctl(vcpu->fd, KVM_SET_SREGS2, &sregs) ? errno : 0);
}

static union {
	struct kvm_nested_state state;
	uint8_t space[sizeof(struct kvm_nested_state) +
		      KVM_STATE_NESTED_SVM_VMCB_SIZE];
} nested;

static void set_sane_sregs(struct fz_vcpu *vcpu, uint64_t efer)
{
	struct kvm_sregs2 sregs;

	FZ_ASSERT(!ioctl(vcpu->fd, KVM_GET_SREGS2, &sregs), "KVM_GET_SREGS2");
	sregs.cr0 = X86_CR0_PE | X86_CR0_ET;
	sregs.cr3 = 0;
	sregs.cr4 = 0;
	sregs.efer = efer;
	sregs.flags = 0;
	FZ_ASSERT(!ioctl(vcpu->fd, KVM_SET_SREGS2, &sregs), "KVM_SET_SREGS2: %s",
		  strerror(errno));
}

/*
 * Enter or leave a nested guest, on AMD only: Intel needs a VMCS, see x86/nested.c. KVM
 * may refuse the state. If a pre-fault works meanwhile, it fills page tables that the
 * model does not have.
 */
static void toggle_nested(struct fz_vcpu *vcpu)
{
	struct vmcb *vmcb = (struct vmcb *)nested.state.data.svm[0].vmcb12;

	if (!facts.svm || !PF_REFUSES_L2 || vcpu->as)
		return;

	memset(&nested, 0, sizeof(nested));
	nested.state.format = KVM_STATE_NESTED_FORMAT_SVM;
	nested.state.flags = KVM_STATE_NESTED_GIF_SET;
	nested.state.size = sizeof(nested);

	if (!vcpu->refuses) {
		random_cpuid(vcpu, true);
		set_sane_sregs(vcpu, EFER_SVME);

		nested.state.flags |= KVM_STATE_NESTED_GUEST_MODE;
		vmcb->control.intercept = BIT_ULL(INTERCEPT_VMRUN);
		vmcb->control.asid = 1;
		vmcb->save.cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_ET;
		vmcb->save.efer = EFER_SVME;
		vmcb->save.rflags = 2;
		vmcb->save.dr6 = 0xffff0ff0;
		vmcb->save.dr7 = 0x400;
	}

	ioctl(vcpu->fd, KVM_SET_NESTED_STATE, &nested.state);
	nested.state.size = sizeof(nested);
	FZ_ASSERT(!ioctl(vcpu->fd, KVM_GET_NESTED_STATE, &nested.state),
		  "KVM_GET_NESTED_STATE: %s", strerror(errno));
	vcpu->refuses = nested.state.flags & KVM_STATE_NESTED_GUEST_MODE ? EOPNOTSUPP : 0;
	fz_note("vCPU %ld, nested guest %u", vcpu - fz_vm.vcpus, !!vcpu->refuses);

	/*
	 * KVM keeps using the page tables of the nested guest, which without nested
	 * paging are those of the VM, until MMU-related registers are set. VMMs set
	 * these registers when they restore a vCPU.
	 */
	if (!vcpu->refuses)
		set_sane_sregs(vcpu, 0);
}

void fz_arch_vcpu_change(void)
{
	struct fz_vcpu *raw = &fz_vm.vcpus[FZ_RAW];
	unsigned int what = fz_below(100);

	/* Leave the nested guest soon, as calls return the same errno there. */
	if (raw->refuses && what < 60) {
		toggle_nested(raw);
		return;
	}

	if (what < 50)
		fz_vcpu_touch();
	else if (what < 75)
		toggle_smm(&fz_vm.vcpus[fz_below(2)]);
	else if (raw->refuses)
		return;
	else if (what < 82)
		random_cpuid(raw, false);
	else if (what < 94)
		random_regs(raw);
	else
		toggle_nested(raw);
}

/* The host does not map the page with a huge page. */
void fz_arch_guest_mapped(struct fz_slot *slot, uint64_t page, bool write)
{
	uint64_t first = page - (slot->gfn + page - slot->page) % 8, i;

	fz_map_set(slot, page, FZ_4K);
	if (facts.tdp_mmu)
		return;

	/* The legacy MMU also maps the pages around, if they are present on the host. */
	for (i = first; i < first + 8; i++) {
		if (i >= slot->page && i < slot->page + slot->npages &&
		    !fz_host_errno(i) && fz_map_get(slot, i) == FZ_NO)
			fz_map_set(slot, i, FZ_MAYBE);
	}
}

/* Dirty logging needs 4K mappings. */
bool fz_arch_maps_4k(const struct fz_slot *slot)
{
	return slot->flags & KVM_MEM_LOG_DIRTY_PAGES;
}

/*
 * On newer kernels, KVM's own fault path maps the huge zero page, and replaces a page
 * table for it.
 */
bool fz_arch_replaces_table(const struct fz_slot *slot, uint64_t page)
{
	return PF_COPIES_HUGE_ZERO && fz_can_be_huge(slot, page) &&
	       !(slot->flags & KVM_MEM_LOG_DIRTY_PAGES) &&
	       !(fz_host.page[page] & FZ_PRIVATE);
}

/*
 * Dirty logging was enabled: large mappings are split, small ones stay. The legacy MMU
 * does not split, nor does KVM in a read-only slot, which can't get dirty.
 */
static void dirty_log_on(struct fz_slot *slot)
{
	uint64_t page = slot->page;

	if (!facts.tdp_mmu || !facts.eager_split ||
	    slot->flags & KVM_MEM_READONLY)
		return;

	for (; page < slot->page + slot->npages && page < FZ_WINDOW; page++) {
		if (fz_map_get(slot, page) == FZ_2M)
			fz_map_set(slot, page, FZ_4K);
	}
}

/* KVM replaces a page table with a large mapping, if it maps anything. */
static void recover_huge(struct fz_slot *slot, uint64_t page)
{
	if (fz_block_has(slot, page, FZ_4K) || fz_block_has(slot, page, FZ_ANY))
		fz_block_huge(slot, page);
	else if (fz_block_has(slot, page, FZ_MAYBE))
		fz_block_set(slot, page, FZ_NO, FZ_MAYBE);
}

/*
 * Dirty logging was disabled: small mappings that can be large become large, or are
 * zapped.
 */
static void dirty_log_off(struct fz_slot *slot)
{
	uint64_t page = slot->page;

	if (slot->flags & KVM_MEM_READONLY)
		return;

	if (PF_RECOVERS_HUGE && facts.tdp_mmu) {
		for (; page < slot->page + slot->npages && page < FZ_WINDOW; page++) {
			if (fz_can_be_huge(slot, page))
				recover_huge(slot, page);
		}
		return;
	}

	for (; page < slot->page + slot->npages && page < FZ_WINDOW; page++) {
		if (!fz_can_be_huge(slot, page))
			continue;
		if (fz_map_get(slot, page) == FZ_4K)
			fz_map_set(slot, page, FZ_NO);
		else if (fz_map_get(slot, page) == FZ_ANY)
			fz_map_set(slot, page, FZ_MAYBE);
	}
}

void fz_arch_dirty_log_changed(struct fz_slot *slot)
{
	if (slot->flags & KVM_MEM_LOG_DIRTY_PAGES)
		dirty_log_on(slot);
	else
		dirty_log_off(slot);
}

/* Deleting or moving any slot zaps all mappings of the VM. */
void fz_arch_slot_gone(struct fz_slot *slot)
{
	fz_all_gone();
}

/* The legacy MMU has recycled page tables: any mapping may be gone. */
static void all_maybe_gone(void)
{
	struct fz_slot *slot = fz_vm.slots;
	unsigned int i;

	for (; slot < fz_vm.slots + FZ_NR_SLOTS; slot++) {
		for (i = 0; i < FZ_NR_INDEX && slot->sure; i++) {
			if (slot->map[i] == FZ_NO || slot->map[i] == FZ_MAYBE)
				continue;
			slot->map[i] = FZ_MAYBE;
			slot->sure--;
			slot->maybe++;
		}
	}
}

void fz_arch_check_mapped(struct fz_answer *want)
{
	static const char * const names[] = {
		"pages_4k", "pages_2m", "pages_1g", "mmu_recycled",
	};
	uint64_t stats[ARRAY_SIZE(names)], mapped, sure, maybe;

	fz_read_stats(fz_vm.stats_fd, names, ARRAY_SIZE(names), stats);

	/* Page tables that KVM recycled during the call may be those of this call. */
	if (!facts.tdp_mmu && stats[3] != recycled) {
		recycled = stats[3];
		all_maybe_gone();
		want->max_pages = -1ul;
	}

	mapped = stats[0] + FZ_BLOCK * stats[1];
	fz_count(&sure, &maybe);
	FZ_ASSERT(!stats[2] && mapped >= sure && mapped <= sure + maybe,
		  "%lu pages are mapped, expected %lu, maybe %lu more", mapped,
		  sure, maybe);
}
