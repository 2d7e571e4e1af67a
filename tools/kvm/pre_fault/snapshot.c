// SPDX-License-Identifier: GPL-2.0-only
/*
 * Save a guest to a file and restore it: its memory, the vCPU's registers and those
 * of the devices of machine.c. The CPUID of the machine has to be the same. The state
 * of a nested guest is not saved, and the guest's clocks stand still meanwhile.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"

#define MAGIC		"PFSNAP2"
/* Aligned, so that a file system with huge pages can map them as such. */
#define MEMORY_OFFSET	SZ_2M

#define MSR_TSC		0x10

/*
 * In the order of the restore: SREGS has the address of the local APIC, and comes
 * first; the running state and the pending events come last.
 */
static const struct {
	const char *name;
	unsigned long get;
	unsigned long set;
	size_t offset;
} vcpu_state[] = {
#define STATE(name, field)						\
	{ #name, KVM_GET_##name, KVM_SET_##name,			\
	  offsetof(struct snapshot, field) }
	STATE(SREGS, sregs),
	STATE(XCRS, xcrs),
	STATE(XSAVE, xsave),
	STATE(LAPIC, lapic),
	STATE(DEBUGREGS, debugregs),
	STATE(REGS, regs),
	STATE(MP_STATE, mp_state),
	STATE(VCPU_EVENTS, events),
};

/* KVM_GET_MSR_INDEX_LIST omits these. The last one enables the MTRRs. */
static const uint32_t mtrrs[] = {
	0x200, 0x201, 0x202, 0x203, 0x204, 0x205, 0x206, 0x207,
	0x208, 0x209, 0x20a, 0x20b, 0x20c, 0x20d, 0x20e, 0x20f,
	0x250, 0x258, 0x259,
	0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f,
	0x2ff,
};

static void get_msr(struct snapshot *snap, struct machine *m, uint32_t index)
{
	struct kvm_msr_entry *msr = &snap->msrs[snap->nr_msrs];
	uint64_t value;

	/* Skip MSRs that a vCPU with this CPUID does not have. */
	if (index == MSR_TSC || machine_get_msr(m, index, &value))
		return;
	msr->index = index;
	msr->data = value;
	snap->nr_msrs++;
}

static int get_msrs(struct snapshot *snap, struct machine *m, int kvm_fd)
{
	struct {
		struct kvm_msr_list head;
		uint32_t indices[MAX_MSRS - ARRAY_SIZE(mtrrs)];
	} list = { .head.nmsrs = ARRAY_SIZE(list.indices) };

	if (ioctl(kvm_fd, KVM_GET_MSR_INDEX_LIST, &list) ||
	    machine_get_msr(m, MSR_TSC, &snap->tsc)) {
		warn("cannot read the MSRs");
		return -1;
	}
	for (uint32_t i = 0; i < list.head.nmsrs; i++)
		get_msr(snap, m, list.indices[i]);
	for (uint32_t i = 0; i < ARRAY_SIZE(mtrrs); i++)
		get_msr(snap, m, mtrrs[i]);
	return 0;
}

/* Some MSRs are read-only: do not write a value that is right already. */
static int set_msrs(const struct snapshot *snap, struct machine *m)
{
	for (uint32_t i = 0; i < snap->nr_msrs; i++) {
		const struct kvm_msr_entry *msr = &snap->msrs[i];
		uint64_t value;

		if (!machine_get_msr(m, msr->index, &value) &&
		    value == msr->data)
			continue;
		if (machine_set_msr(m, msr->index, msr->data)) {
			warnx("cannot set MSR %#x", msr->index);
			return -1;
		}
	}
	return 0;
}

/* Failure is no error: time just runs faster or slower for the guest. */
static void set_tsc_khz(const struct snapshot *snap, struct machine *m)
{
	int khz = ioctl(m->vcpu.fd, KVM_GET_TSC_KHZ, 0UL);

	if (snap->tsc_khz > 0 && snap->tsc_khz != khz &&
	    ioctl(m->vcpu.fd, KVM_SET_TSC_KHZ, (unsigned long)snap->tsc_khz))
		warn("the snapshot's TSC is of %d kHz, here it is of %d",
		     snap->tsc_khz, khz);
}

/*
 * Do not write the TSC itself: if the value is within a second of the current one, KVM
 * takes the write for an attempt to synchronize the vCPUs.
 */
static int set_tsc(const struct snapshot *snap, struct machine *m)
{
	uint64_t offset, now;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&offset,
	};

	if (!ioctl(m->vcpu.fd, KVM_GET_DEVICE_ATTR, &attr) &&
	    !machine_get_msr(m, MSR_TSC, &now)) {
		offset += snap->tsc - now;
		if (!ioctl(m->vcpu.fd, KVM_SET_DEVICE_ATTR, &attr))
			return 0;
	}
	warn("cannot set the TSC");
	return -1;
}

static int get_state(struct snapshot *snap, struct machine *m, int kvm_fd)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(vcpu_state); i++) {
		if (ioctl(m->vcpu.fd, vcpu_state[i].get,
			  (void *)snap + vcpu_state[i].offset) < 0) {
			warn("KVM_GET_%s", vcpu_state[i].name);
			return -1;
		}
	}
	for (unsigned int i = 0; i < NR_IRQCHIPS; i++) {
		snap->irqchips[i].chip_id = i;
		if (ioctl(m->fd, KVM_GET_IRQCHIP, &snap->irqchips[i])) {
			warn("KVM_GET_IRQCHIP");
			return -1;
		}
	}
	if (ioctl(m->fd, KVM_GET_PIT2, &snap->pit) ||
	    ioctl(m->fd, KVM_GET_CLOCK, &snap->clock)) {
		warn("cannot read the timer and the clock");
		return -1;
	}
	/* Let the clock continue from here when it is restored. */
	snap->clock.flags = 0;
	snap->tsc_khz = ioctl(m->vcpu.fd, KVM_GET_TSC_KHZ, 0UL);
	return get_msrs(snap, m, kvm_fd);
}

static int write_memory(const struct memory *mem, int fd)
{
	static const char zeros[SZ_4K];

	if (ftruncate(fd, 0) || ftruncate(fd, MEMORY_OFFSET + mem->size))
		return -1;
	for (uint64_t off = 0; off < mem->size; off += SZ_4K) {
		ssize_t ret;

		if (!memcmp(mem->hva + off, zeros, SZ_4K))
			continue;
		ret = pwrite(fd, mem->hva + off, SZ_4K, MEMORY_OFFSET + off);
		if (ret != (ssize_t)SZ_4K) {
			if (ret >= 0)
				errno = ENOSPC;
			return -1;
		}
	}
	return 0;
}

/**
 * snapshot_take - get the state of a machine, and write its memory to a file
 * @snap: the state
 * @m: the machine, which is not running
 * @kvm_fd: /dev/kvm
 * @path: the file; snapshot_write() has to follow
 *
 * Return: 0, or -1 after a message
 */
int snapshot_take(struct snapshot *snap, struct machine *m, int kvm_fd,
		  const char *path)
{
	int fd, ret;

	memcpy(snap->magic, MAGIC, sizeof(snap->magic));
	snap->memory = m->mem->size;
	snap->cpuid = m->cpuid;
	snap->serial = m->serial.regs;
	snap->irq = m->irq;
	if (get_state(snap, m, kvm_fd))
		return -1;

	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ret = fd < 0 ? -1 : write_memory(m->mem, fd);
	if (fd >= 0 && close(fd))
		ret = -1;
	if (ret)
		warn("%s", path);
	return ret;
}

/**
 * snapshot_write - write the state to the file that has the memory
 * @snap: the state
 * @path: the file
 *
 * Return: 0, or -1 after a message
 */
int snapshot_write(const struct snapshot *snap, const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0 || pwrite(fd, snap, sizeof(*snap), 0) != sizeof(*snap))
		ret = -1;
	if (fd >= 0 && close(fd))
		ret = -1;
	if (ret)
		warn("%s", path);
	return ret;
}

static bool is_text(const char *text, size_t size)
{
	return *text && memchr(text, '\0', size);
}

/**
 * snapshot_read - read the state from a file
 * @snap: the state
 * @path: the file
 *
 * Return: 0, or -1 after a message
 */
int snapshot_read(struct snapshot *snap, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t ret;
	off_t end;

	if (fd < 0) {
		warn("%s", path);
		return -1;
	}
	ret = pread(fd, snap, sizeof(*snap), 0);
	end = lseek(fd, 0, SEEK_END);
	close(fd);
	/* An access beyond the end of the file would raise SIGBUS, even by the guest. */
	if (ret != sizeof(*snap) ||
	    memcmp(snap->magic, MAGIC, sizeof(snap->magic)) ||
	    !is_text(snap->prompt, sizeof(snap->prompt)) ||
	    !is_text(snap->command, TEXT_MAX) ||
	    !is_text(snap->answer, TEXT_MAX) || snap->nr_msrs > MAX_MSRS ||
	    !snap->memory || snap->memory % SZ_4K || snap->memory > MEM_MAX ||
	    end != (off_t)(MEMORY_OFFSET + snap->memory)) {
		warnx("%s: not a snapshot of this program", path);
		return -1;
	}
	return 0;
}

/**
 * snapshot_map - map the memory of a snapshot, copy-on-write
 * @snap: its state
 * @path: its file
 * @mem: the mapping, for memory_destroy()
 *
 * Return: 0, or -1 after a message
 */
int snapshot_map(const struct snapshot *snap, const char *path,
		 struct memory *mem)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *hva = MAP_FAILED;

	if (fd >= 0 && !memory_reserve(mem, snap->memory)) {
		hva = mmap(mem->hva, mem->size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_FIXED, fd, MEMORY_OFFSET);
		if (hva == MAP_FAILED)
			memory_destroy(mem);
	}
	if (hva == MAP_FAILED)
		warn("%s", path);
	if (fd >= 0)
		close(fd);
	return hva == MAP_FAILED ? -1 : 0;
}

/**
 * snapshot_restore - give a machine the state of a snapshot
 * @snap: the state
 * @m: a new machine, whose memory snapshot_map() has mapped
 *
 * Return: 0, or -1 after a message
 */
int snapshot_restore(const struct snapshot *snap, struct machine *m)
{
	if (memcmp(&snap->cpuid, &m->cpuid, sizeof(m->cpuid))) {
		warnx("the snapshot is of another CPU, or of another kernel's KVM");
		return -1;
	}
	for (unsigned int i = 0; i < NR_IRQCHIPS; i++) {
		if (ioctl(m->fd, KVM_SET_IRQCHIP, &snap->irqchips[i])) {
			warn("KVM_SET_IRQCHIP");
			return -1;
		}
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(vcpu_state); i++) {
		if (ioctl(m->vcpu.fd, vcpu_state[i].set,
			  (void *)snap + vcpu_state[i].offset)) {
			warn("KVM_SET_%s", vcpu_state[i].name);
			return -1;
		}
	}
	set_tsc_khz(snap, m);
	/* Set the TSC before the MSRs: the APIC timer's deadline is a TSC value. */
	if (set_tsc(snap, m) || set_msrs(snap, m))
		return -1;
	if (ioctl(m->fd, KVM_SET_PIT2, &snap->pit) ||
	    ioctl(m->fd, KVM_SET_CLOCK, &snap->clock)) {
		warn("cannot set the timer and the clock");
		return -1;
	}
	m->serial.regs = snap->serial;
	m->irq = snap->irq;
	return 0;
}
