// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fuzzer's VM and its memslots, KVM's own ones among them.
 */
#define _GNU_SOURCE
#include "fuzz.h"

struct fz_facts fz_facts;
struct fz_vm fz_vm;

#define KVM_PAGES(n)		(FZ_OWN + 4 + (n))
#define APIC_GPA		0xfee00000ul
/* Not the number that KVM gives it, but of no slot of the user's */
#define PRIVATE_ID		0xffff

static bool param(const char *path)
{
	char value = 0;
	int fd = open(path, O_RDONLY);

	if (fd >= 0) {
		if (read(fd, &value, 1) != 1)
			value = 0;
		close(fd);
	}
	return value == 'Y' || value == '1';
}

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
	fz_facts.tdp_mmu = param("/sys/module/kvm/parameters/tdp_mmu");
	fz_facts.eager_split = param("/sys/module/kvm/parameters/eager_page_split");
	snprintf(path, sizeof(path), "%sflexpriority", intel);
	fz_facts.flexpriority = param(path);
	snprintf(path, sizeof(path), "%sunrestricted_guest", intel);
	fz_facts.unrestricted = fz_facts.amd || param(path);
	snprintf(path, sizeof(path), fz_facts.amd ? "/sys/module/kvm_amd/parameters/avic" :
		 "%senable_apicv", intel);
	fz_facts.apicv = param(path);
}

struct fz_slot *fz_random_slot(void)
{
	unsigned int i, start = fz_below(FZ_NR_SLOTS);

	for (i = 0; i < FZ_NR_SLOTS; i++) {
		struct fz_slot *slot = &fz_vm.slots[(start + i) % FZ_NR_SLOTS];

		if (slot->used)
			return slot;
	}

	return NULL;
}

/* Where the first slot that has it maps a host page; -1 if there is none */
uint64_t fz_gfn_of_page(uint64_t page)
{
	struct fz_slot *slot = fz_vm.slots;

	for (; slot < fz_vm.slots + FZ_NR_SLOTS; slot++) {
		if (slot->used && page >= slot->page &&
		    page - slot->page < slot->npages)
			return slot->gfn + page - slot->page;
	}

	return -1ul;
}

int fz_set_slot(const struct fz_slot *slot, uint64_t npages)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot->as << 16 | slot->id,
		.flags = slot->flags,
		.guest_phys_addr = slot->gfn * PAGE_SIZE,
		.memory_size = npages * PAGE_SIZE,
		.userspace_addr = (uintptr_t)fz_host.mem + slot->page * PAGE_SIZE,
	};

	return ioctl(fz_vm.fd, KVM_SET_USER_MEMORY_REGION, &region) ? errno : 0;
}

static void set_slot(const struct fz_slot *slot, uint64_t npages)
{
	int err = fz_set_slot(slot, npages);

	FZ_ASSERT(!err, "KVM_SET_USER_MEMORY_REGION: slot %u:%u at %#lx+%#lx, flags %u: %s",
		  slot->as, slot->id, slot->gfn, npages, slot->flags,
		  strerror(err));
}

/* The highest address that KVM takes, but not more than four levels reach */
static uint64_t max_gfn(void)
{
	return (1ul << (min(fz_facts.phys_bits, 47u) - 12)) - 1;
}

/* A place for a slot: at the edge of another one, or wherever edges are. */
static uint64_t random_gfn(uint64_t npages)
{
	static const uint64_t places[] = {
		0, 0x100, 0x8000, 0xdfff0, 0xfec00, 0xfee00, 0x100000, 0x200000,
		0x4000000,
	};
	struct fz_slot *near = fz_random_slot();
	uint64_t gfn;

	switch (fz_below(4)) {
	case 0:
		gfn = places[fz_below(ARRAY_SIZE(places))] + fz_below(32);
		break;
	case 1:
		gfn = max_gfn() + 1 - npages - fz_below(3);
		break;
	case 2:
		gfn = fz_below(1ul << (4 + fz_below(fz_facts.phys_bits - 16)));
		break;
	default:
		gfn = near->gfn + near->npages + fz_below(3);
		if (fz_chance(30))
			gfn = near->gfn - npages - fz_below(3);
		break;
	}

	return gfn;
}

static bool place(struct fz_slot *slot)
{
	unsigned int tries;
	uint64_t gfn;

	for (tries = 0; tries < 8; tries++) {
		gfn = random_gfn(slot->npages);
		/* Congruent, for huge pages */
		if (fz_chance(60))
			gfn += (slot->page - gfn) % FZ_BLOCK;
		if (gfn <= max_gfn() && slot->npages <= max_gfn() - gfn + 1 &&
		    fz_slot_is_free(slot->as, gfn, slot->npages, NULL)) {
			slot->gfn = gfn;
			return true;
		}
	}

	return false;
}

static void create_slot(struct fz_slot *slot)
{
	uint64_t page, npages;

	npages = fz_chance(45) ? 1 + fz_below(16) :
		 fz_chance(80) ? 1 + fz_below(2 * FZ_BLOCK) :
				 1 + fz_below(FZ_WINDOW);
	page = fz_below(FZ_WINDOW);
	if (fz_chance(40)) {
		page &= ~(FZ_BLOCK - 1ul);
		npages = fz_below(2) ? npages : FZ_BLOCK * (1 + fz_below(4));
	}
	/* Huge, over next to nothing */
	if (fz_chance(5)) {
		page = FZ_WINDOW + fz_below(FZ_SPARSE / 2);
		npages = 1 + fz_below(FZ_SPARSE / 2);
		if (fz_below(2))
			page = FZ_WINDOW + fz_below(FZ_SPARSE_FILE);
	}
	if (page < FZ_WINDOW)
		npages = min(npages, FZ_PAGES + FZ_SPARSE_FILE - page);

	slot->as = fz_facts.smm && fz_chance(25);
	slot->page = page;
	slot->npages = npages;
	slot->flags = fz_chance(30) ? KVM_MEM_READONLY : 0;
	slot->flags |= fz_chance(30) ? KVM_MEM_LOG_DIRTY_PAGES : 0;
	if (!place(slot))
		return;

	fz_note("slot %u:%u created at gfn %#lx+%#lx, page %#lx, flags %u",
		slot->as, slot->id, slot->gfn, npages, page, slot->flags);
	set_slot(slot, npages);
	slot->used = true;
}

void fz_slot_deleted(struct fz_slot *slot)
{
	fz_all_gone();
	slot->used = false;
	slot->invalid = false;
}

static void toggle_dirty_log(struct fz_slot *slot)
{
	slot->flags ^= KVM_MEM_LOG_DIRTY_PAGES;
	fz_note("slot %u:%u flags %u", slot->as, slot->id, slot->flags);
	set_slot(slot, slot->npages);
	if (slot->flags & KVM_MEM_LOG_DIRTY_PAGES)
		fz_dirty_log_on(slot);
	else
		fz_dirty_log_off(slot);
}

static void move_slot(struct fz_slot *slot)
{
	if (!place(slot))
		return;

	fz_note("slot %u:%u moved to gfn %#lx", slot->as, slot->id, slot->gfn);
	set_slot(slot, slot->npages);
	fz_all_gone();
}

void fz_slot_change(void)
{
	struct fz_slot *slot = &fz_vm.slots[fz_below(FZ_USER_SLOTS)];
	struct fz_slot *last = fz_slot_at(0, fz_vm.last_gfn);
	unsigned int what = fz_below(100);

	/* All mappings go with any deletion: more often, change what is mapped. */
	if (last && last - fz_vm.slots < FZ_USER_SLOTS && fz_chance(40)) {
		toggle_dirty_log(last);
		return;
	}

	if (!slot->used) {
		create_slot(slot);
	} else if (what < 60) {
		toggle_dirty_log(slot);
	} else if (what < 72) {
		move_slot(slot);
	} else {
		fz_note("slot %u:%u deleted", slot->as, slot->id);
		set_slot(slot, 0);
		fz_slot_deleted(slot);
	}
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
	set_slot(&fz_vm.slots[nr], 1);
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

	/* On AMD, and with unrestricted guests, nobody needs these two. */
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

	/* Otherwise the legacy MMU has 64 page tables for the time being. */
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
