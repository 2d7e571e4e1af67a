// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fuzzer's vCPUs: one runs a guest of a few instructions, one is never run and has
 * random registers and CPUID, and one sleeps in a userfaultfd.
 */
#define _GNU_SOURCE
#include "fuzz.h"
#include "svm_util.h"

#define WRITTEN		0x5eed1234u
#define GUEST_PORT	0x10
/* The end of the guest's accesses: below the APIC, and within 32 bits */
#define GUEST_END	(0xc0000000ul / PAGE_SIZE)

/* Read at ebx, write ecx there if it is not 0, and exit. */
static const uint8_t guest_code[] = {
	0x8b, 0x03,		/* mov (%ebx), %eax */
	0x85, 0xc9,		/* test %ecx, %ecx */
	0x74, 0x02,		/* jz 1f */
	0x89, 0x0b,		/* mov %ecx, (%ebx) */
	0xe6, GUEST_PORT,	/* 1: out %al, $GUEST_PORT */
};

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

	memcpy(fz_host.mem + FZ_OWN * PAGE_SIZE, guest_code, sizeof(guest_code));
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

/* Have the guest touch a page: 32 bits, no paging. */
static void touch(void)
{
	struct fz_vcpu *vcpu = &fz_vm.vcpus[FZ_RUNNER];
	struct kvm_regs regs = { .rip = FZ_CODE_GPA, .rflags = 2 };
	struct fz_slot *slot = fz_slot_at(0, fz_vm.last_gfn);
	uint64_t off = fz_vm.last_gfn, page;
	struct kvm_sregs sregs;
	uint32_t word;
	bool write;

	/* Prefer the page of the last call. */
	if (slot && fz_below(2)) {
		off -= slot->gfn;
	} else {
		slot = fz_random_slot();
		off = fz_below(min(slot->npages, 4096ul));
	}
	page = slot->page + off;
	if (slot->as || slot - fz_vm.slots >= FZ_USER_SLOTS || vcpu->as ||
	    slot->gfn + off >= GUEST_END || fz_host_errno(page) ||
	    (page < FZ_WINDOW && fz_host.huge[page / FZ_BLOCK]))
		return;

	write = page < FZ_WINDOW && fz_host.page[page] & FZ_WRITE &&
		(slot->flags & KVM_MEM_READONLY || fz_below(2));
	fz_note("guest %s gfn %#lx, page %#lx", write ? "writes" : "reads",
		slot->gfn + off, page);

	regs.rbx = (slot->gfn + off) * PAGE_SIZE;
	regs.rcx = write ? WRITTEN : 0;
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
	if (write && slot->flags & KVM_MEM_READONLY) {
		FZ_ASSERT(vcpu->run->exit_reason == KVM_EXIT_MMIO &&
			  vcpu->run->mmio.phys_addr == regs.rbx,
			  "a read-only slot is written to, exit reason %u",
			  vcpu->run->exit_reason);
		write = false;
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

	/* The guest and the host must see the same contents. */
	FZ_ASSERT(!ioctl(vcpu->fd, KVM_GET_REGS, &regs), "KVM_GET_REGS");
	word = READ_ONCE(*(uint32_t *)(fz_host.mem + page * PAGE_SIZE));
	FZ_ASSERT(word == (write ? WRITTEN : (uint32_t)regs.rax),
		  "the host has %#x, the guest %#llx", word, regs.rax);

	if (write)
		fz_host_written(page);
	fz_guest_mapped(&fz_vm.slots[FZ_CODE_SLOT], FZ_OWN);
	fz_guest_mapped(slot, page);
}

static void toggle_smm(struct fz_vcpu *vcpu)
{
	struct kvm_vcpu_events events;

	if (!fz_facts.smm || vcpu->nested)
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

	if (!fz_facts.svm || !PF_REFUSES_L2 || vcpu->as)
		return;

	memset(&nested, 0, sizeof(nested));
	nested.state.format = KVM_STATE_NESTED_FORMAT_SVM;
	nested.state.flags = KVM_STATE_NESTED_GIF_SET;
	nested.state.size = sizeof(nested);

	if (!vcpu->nested) {
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
	vcpu->nested = nested.state.flags & KVM_STATE_NESTED_GUEST_MODE;
	fz_note("vCPU %ld, nested guest %u", vcpu - fz_vm.vcpus, vcpu->nested);

	/*
	 * KVM keeps using the page tables of the nested guest, which without nested
	 * paging are those of the VM, until MMU-related registers are set. VMMs set
	 * these registers when they restore a vCPU.
	 */
	if (!vcpu->nested)
		set_sane_sregs(vcpu, 0);
}

void fz_vcpu_change(void)
{
	struct fz_vcpu *raw = &fz_vm.vcpus[FZ_RAW];
	unsigned int what = fz_below(100);

	/* Leave the nested guest soon, as calls return the same errno there. */
	if (raw->nested && what < 60) {
		toggle_nested(raw);
		return;
	}

	if (what < 50)
		touch();
	else if (what < 75)
		toggle_smm(&fz_vm.vcpus[fz_below(2)]);
	else if (raw->nested)
		return;
	else if (what < 82)
		random_cpuid(raw, false);
	else if (what < 94)
		random_regs(raw);
	else
		toggle_nested(raw);
}
