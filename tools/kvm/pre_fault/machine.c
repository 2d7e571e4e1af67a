// SPDX-License-Identifier: GPL-2.0-only
/* The parts of a PC that Linux needs. */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"

/* The usual addresses of KVM's pages for Intel CPUs without unrestricted guest */
#define IDENTITY_MAP	0xfffbc000ULL
#define TSS_ADDR	0xfffbd000UL

#define CMOS_DATA	0x71
#define CPUID_APIC_ID		24
#define CPUID_TSC_DEADLINE	0x01000000

static struct kvm_run *running;

/* Also end a KVM_RUN that begins only after the signal. */
static void on_alarm(int sig)
{
	(void)sig;
	running->immediate_exit = 1;
}

static int set_cpuid(struct machine *m, int kvm_fd)
{
	m->cpuid.head.nent = CPUID_MAX;
	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, &m->cpuid)) {
		warn("KVM_GET_SUPPORTED_CPUID");
		return -1;
	}
	for (unsigned int i = 0; i < m->cpuid.head.nent; i++) {
		struct kvm_cpuid_entry2 *entry = &m->cpuid.entries[i];

		/* KVM reports the APIC ID of the current host CPU: clear it. */
		if (entry->function == 1) {
			entry->ebx &= ~(0xffu << CPUID_APIC_ID);
			entry->ecx |= CPUID_TSC_DEADLINE;
		} else if (entry->function == 0xb || entry->function == 0x1f) {
			entry->edx = 0;
		}
	}
	if (ioctl(m->vcpu.fd, KVM_SET_CPUID2, &m->cpuid)) {
		warn("KVM_SET_CPUID2");
		return -1;
	}
	return 0;
}

static int setup(struct machine *m, int kvm_fd)
{
	struct kvm_userspace_memory_region region = {
		.memory_size = m->mem->size,
		.userspace_addr = (uintptr_t)m->mem->hva,
	};
	struct kvm_pit_config pit = { 0 };
	uint64_t identity_map = IDENTITY_MAP;
	int ret;

	m->fd = ioctl(kvm_fd, KVM_CREATE_VM, 0UL);
	if (m->fd < 0) {
		warn("KVM_CREATE_VM");
		return -1;
	}
	if (ioctl(m->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) ||
	    ioctl(m->fd, KVM_SET_TSS_ADDR, TSS_ADDR) ||
	    ioctl(m->fd, KVM_CREATE_IRQCHIP, 0UL) ||
	    ioctl(m->fd, KVM_CREATE_PIT2, &pit)) {
		warn("cannot make interrupt controllers and timer");
		return -1;
	}
	if (ioctl(m->fd, KVM_SET_USER_MEMORY_REGION, &region)) {
		warn("KVM_SET_USER_MEMORY_REGION");
		return -1;
	}

	m->vcpu.fd = ioctl(m->fd, KVM_CREATE_VCPU, 0UL);
	ret = ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0UL);
	if (m->vcpu.fd < 0 || ret < (int)sizeof(struct kvm_run)) {
		warn("KVM_CREATE_VCPU");
		return -1;
	}
	m->run_size = ret;
	m->vcpu.run = mmap(NULL, m->run_size, PROT_READ | PROT_WRITE,
			   MAP_SHARED, m->vcpu.fd, 0);
	if (m->vcpu.run == MAP_FAILED) {
		warn("cannot map the vCPU");
		return -1;
	}
	if (stats_open(&m->vcpu.stats, m->vcpu.fd))
		return -1;
	return set_cpuid(m, kvm_fd);
}

/**
 * machine_create - make a VM with one vCPU that has its CPUID, but no state
 * @m: to be filled
 * @kvm_fd: /dev/kvm
 * @mem: its memory, from guest physical address 0 on
 * @time_limit: how many seconds machine_run() waits for a prompt
 *
 * Return: 0, or -1 after a message
 */
int machine_create(struct machine *m, int kvm_fd, struct memory *mem,
		   unsigned int time_limit)
{
	memset(m, 0, sizeof(*m));
	m->mem = mem;
	m->time_limit = time_limit;
	m->fd = -1;
	m->vcpu.fd = -1;
	m->vcpu.run = MAP_FAILED;
	m->vcpu.stats.fd = -1;
	if (setup(m, kvm_fd)) {
		machine_destroy(m);
		return -1;
	}
	return 0;
}

/**
 * machine_destroy - the opposite of machine_create()
 * @m: the machine; its memory remains
 */
void machine_destroy(struct machine *m)
{
	stats_close(&m->vcpu.stats);
	if (m->vcpu.run != MAP_FAILED)
		munmap(m->vcpu.run, m->run_size);
	if (m->vcpu.fd >= 0)
		close(m->vcpu.fd);
	if (m->fd >= 0)
		close(m->fd);
}

static int update_irq(struct machine *m)
{
	struct kvm_irq_level line = {
		.irq = SERIAL_IRQ,
		.level = serial_irq(&m->serial),
	};

	if (line.level == m->irq)
		return 0;
	m->irq = line.level;
	if (ioctl(m->fd, KVM_IRQ_LINE, &line)) {
		warn("KVM_IRQ_LINE");
		return -1;
	}
	return 0;
}

static void port_io(struct machine *m)
{
	struct kvm_run *run = m->vcpu.run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	unsigned int reg = run->io.port - SERIAL_PORT;

	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_OUT) {
			if (reg < 8)
				serial_write(&m->serial, reg, *data);
			continue;
		}
		/* The CMOS clock reads as 0 (never busy), absent ports as 0xff. */
		memset(data, run->io.port == CMOS_DATA ? 0 : 0xff,
		       run->io.size);
		if (reg < 8)
			*data = serial_read(&m->serial, reg);
	}
}

/* KVM completes an exit to userspace only in the next KVM_RUN. */
static int complete(struct machine *m)
{
	m->vcpu.run->immediate_exit = 1;
	if (!ioctl(m->vcpu.fd, KVM_RUN, 0UL) || errno != EINTR) {
		warn("KVM_RUN did not exit at once");
		return -1;
	}
	m->vcpu.run->immediate_exit = 0;
	return 0;
}

static int run_once(struct machine *m)
{
	struct kvm_run *run = m->vcpu.run;
	struct kvm_regs regs;

	if (ioctl(m->vcpu.fd, KVM_RUN, 0UL)) {
		if (!run->immediate_exit &&
		    (errno == EINTR || errno == EAGAIN))
			return 0;
		if (run->immediate_exit && errno == EINTR)
			warnx("no prompt within %u s (see --time-limit)",
			      m->time_limit);
		else
			warn("KVM_RUN");
		return -1;
	}
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		port_io(m);
		return 0;
	case KVM_EXIT_MMIO:
		/* Linux probes for devices: absent ones read as 0xff. */
		memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
		return 0;
	}
	if (ioctl(m->vcpu.fd, KVM_GET_REGS, &regs))
		regs.rip = 0;
	warnx("KVM_RUN: exit reason %u at %#llx", run->exit_reason, regs.rip);
	return -1;
}

/**
 * machine_run - run the guest until it prints a prompt
 * @m: a machine that has a state
 * @prompt: the prompt
 *
 * Return: 0, or -1 after a message
 */
int machine_run(struct machine *m, const char *prompt)
{
	const struct sigaction action = { .sa_handler = on_alarm };
	int ret = 0;

	running = m->vcpu.run;
	sigaction(SIGALRM, &action, NULL);
	alarm(m->time_limit);
	do {
		ret = update_irq(m);
		if (!ret)
			ret = run_once(m);
	} while (!ret && !serial_ends_with(&m->serial, prompt));
	alarm(0);

	if (ret) {
		warnx("the last output of the guest:");
		fputs(m->serial.out, stderr);
		fputc('\n', stderr);
		return ret;
	}
	return complete(m);
}

struct one_msr {
	struct kvm_msrs head;
	struct kvm_msr_entry entry;
};

/**
 * machine_set_msr - write an MSR of the vCPU
 * @m: the machine
 * @index: number of the MSR
 * @value: the value to write
 *
 * Return: 0, or -1, without a message
 */
int machine_set_msr(struct machine *m, uint32_t index, uint64_t value)
{
	struct one_msr msr = {
		.head.nmsrs = 1, .entry.index = index, .entry.data = value,
	};

	return ioctl(m->vcpu.fd, KVM_SET_MSRS, &msr) == 1 ? 0 : -1;
}

/**
 * machine_get_msr - read an MSR of the vCPU
 * @m: the machine
 * @index: number of the MSR
 * @value: where the value goes
 *
 * Return: 0, or -1, without a message
 */
int machine_get_msr(struct machine *m, uint32_t index, uint64_t *value)
{
	struct one_msr msr = { .head.nmsrs = 1, .entry.index = index };

	if (ioctl(m->vcpu.fd, KVM_GET_MSRS, &msr) != 1)
		return -1;
	*value = msr.entry.data;
	return 0;
}
