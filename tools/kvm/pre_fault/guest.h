/* SPDX-License-Identifier: GPL-2.0-only */
/* Linux as the guest: boot, save and restore it. */
#ifndef GUEST_H
#define GUEST_H

#include "pre_fault.h"

/* serial.c: a 16550 whose line is never busy */
struct serial_regs {
	uint8_t ier;
	uint8_t fcr;
	uint8_t lcr;
	uint8_t mcr;
	uint8_t scr;
	uint8_t dll;
	uint8_t dlm;
	uint8_t sent;
};

struct serial {
	struct serial_regs regs;
	const char *in;
	size_t len;
	char out[1 << 15];
};

#define SERIAL_PORT	0x3f8
#define SERIAL_IRQ	4

void serial_write(struct serial *serial, unsigned int reg, uint8_t value);
uint8_t serial_read(struct serial *serial, unsigned int reg);
bool serial_irq(const struct serial *serial);
bool serial_ends_with(const struct serial *serial, const char *text);

/* The CPUID of the vCPU; unused entries are 0, so that two can be compared. */
#define CPUID_MAX	256

struct cpuid {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[CPUID_MAX];
};

/* machine.c: one vCPU, interrupt controllers, timer and serial line */
struct machine {
	int fd;
	struct vcpu vcpu;
	size_t run_size;
	struct memory *mem;
	unsigned int time_limit;
	struct cpuid cpuid;
	struct serial serial;
	bool irq;
};

int machine_create(struct machine *m, int kvm_fd, struct memory *mem,
		   unsigned int time_limit);
void machine_destroy(struct machine *m);
int machine_run(struct machine *m, const char *prompt);
int machine_set_msr(struct machine *m, uint32_t index, uint64_t value);
int machine_get_msr(struct machine *m, uint32_t index, uint64_t *value);

/* boot.c */
int boot_check(const char *kernel, const char *initrd, const char *append,
	       uint64_t memory);
int boot_load(struct machine *m, const char *kernel,
	      const char *initrd, const char *append);

/* snapshot.c: a file with the state, followed by the memory */
#define TEXT_MAX	4096
#define MAX_MSRS	512
#define NR_IRQCHIPS	3

struct snapshot {
	char magic[8];
	uint64_t memory;
	struct cpuid cpuid;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_xcrs xcrs;
	struct kvm_xsave xsave;
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp_state;
	struct kvm_vcpu_events events;
	struct kvm_debugregs debugregs;
	struct kvm_irqchip irqchips[NR_IRQCHIPS];
	struct kvm_pit_state2 pit;
	struct kvm_clock_data clock;
	uint64_t tsc;
	int32_t tsc_khz;
	uint32_t nr_msrs;
	struct kvm_msr_entry msrs[MAX_MSRS];
	struct serial_regs serial;
	uint8_t irq;
	/* The prompt, the command typed there, and the guest's answer */
	char prompt[64];
	char command[TEXT_MAX];
	char answer[TEXT_MAX];
};

int snapshot_take(struct snapshot *snap, struct machine *m, int kvm_fd,
		  const char *path);
int snapshot_write(const struct snapshot *snap, const char *path);
int snapshot_read(struct snapshot *snap, const char *path);
int snapshot_map(const struct snapshot *snap, const char *path,
		 struct memory *mem);
int snapshot_restore(const struct snapshot *snap, struct machine *m);

/* wset.c: the working set, ranges of pages that the guest has touched */
struct wset_range {
	uint64_t gpa;
	uint64_t size;
	bool written;
};

struct wset {
	unsigned int nr;
	struct wset_range *ranges;
};

int wset_record(struct wset *ws, const struct memory *mem);
int wset_write(const struct wset *ws, const char *path);
int wset_read(struct wset *ws, const char *path, uint64_t size);
void wset_free(struct wset *ws);

#endif /* GUEST_H */
