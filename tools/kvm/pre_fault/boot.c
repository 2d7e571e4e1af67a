// SPDX-License-Identifier: GPL-2.0-only
/* The 64-bit boot protocol: Documentation/arch/x86/boot.rst */
#include <asm/bootparam.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest.h"

#define GDT_GPA		0x1000
#define PARAMS_GPA	0x2000
#define TABLES_GPA	0x3000
#define CMDLINE_GPA	0x20000
#define CMDLINE_MAX	2048
/* " tsc_early_khz=" and a number */
#define TSC_PARAM_MAX	32
#define LOW_END		0x9fc00
#define HIGH_START	0x100000

#define BOOT_PROTOCOL	0x020c
#define HEADER_MAGIC	0x53726448	/* HdrS */
#define ENTRY_64	0x200
#define SECTOR		512
#define LOADER_UNKNOWN	0xff

#define PTE_PRESENT_RW	0x03
#define PTE_LARGE	0x80
#define CR0_PE_ET_NE_PG	0x80000031
#define CR4_PAE		0x20
#define EFER_LME_LMA	0x500
#define RFLAGS_FIXED	0x2

#define MSR_MTRR_DEF_TYPE	0x2ff
#define MTRR_ON_WRITE_BACK	0x806

static int read_fully(int fd, const char *path, void *buf, size_t len,
		      off_t offset)
{
	while (len) {
		ssize_t ret = pread(fd, buf, len, offset);

		if (ret <= 0) {
			if (!ret)
				errno = ENODATA;
			warn("%s", path);
			return -1;
		}
		buf += ret;
		len -= ret;
		offset += ret;
	}
	return 0;
}

/* Open a file. Return its size, or -1 after a message. */
static off_t open_file(const char *path, int *fd)
{
	struct stat st;

	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, &st)) {
		warn("%s", path);
		return -1;
	}
	return st.st_size;
}

/* Read the header; @setup is the offset of the kernel in the file. */
static int read_header(int fd, const char *path, off_t size, uint64_t memory,
		       struct setup_header *hdr, off_t *setup)
{
	uint8_t head[2 * SECTOR];
	size_t len;

	if (read_fully(fd, path, head, sizeof(head), 0))
		return -1;
	/* The jump at its start gives the length of the header, which may be newer. */
	len = 0x202 + head[0x201] - 0x1f1;
	memcpy(hdr, head + 0x1f1, len < sizeof(*hdr) ? len : sizeof(*hdr));
	if (hdr->header != HEADER_MAGIC || hdr->version < BOOT_PROTOCOL ||
	    !(hdr->xloadflags & XLF_KERNEL_64)) {
		warnx("%s: not a bzImage with a 64-bit entry", path);
		return -1;
	}
	*setup = ((hdr->setup_sects ?: 4) + 1) * SECTOR;
	if (*setup >= size || size - *setup > hdr->init_size) {
		warnx("%s: not as long as its header says", path);
		return -1;
	}
	/* boot_load() uses the memory below 1M. */
	if (hdr->pref_address < HIGH_START || hdr->pref_address > memory ||
	    hdr->init_size > memory - hdr->pref_address) {
		warnx("%s: needs %lluM from %#llx on, not all of it free memory", path,
		      (hdr->init_size + 0xfffffULL) >> 20, hdr->pref_address);
		return -1;
	}
	return 0;
}

/* Load the kernel to @hva; if @hva is NULL, only check the kernel. */
static int load_kernel(void *hva, uint64_t memory, const char *path,
		       struct setup_header *hdr)
{
	off_t size, setup;
	int fd, ret = -1;

	size = open_file(path, &fd);
	if (size >= 0)
		ret = read_header(fd, path, size, memory, hdr, &setup);
	if (!ret && hva)
		ret = read_fully(fd, path, hva + hdr->pref_address,
				 size - setup, setup);
	if (fd >= 0)
		close(fd);
	return ret;
}

/* The same for the initrd: load it so high that Linux need not move it. */
static int load_initrd(void *hva, uint64_t memory, const char *path,
		       struct setup_header *hdr)
{
	off_t size;
	uint64_t gpa;
	int fd, ret = -1;

	size = open_file(path, &fd);
	if (size < 0)
		goto out;
	gpa = (memory - size) & ~(SZ_4K - 1);
	if ((uint64_t)size > memory ||
	    gpa < hdr->pref_address + hdr->init_size) {
		warnx("%s: does not fit into the memory", path);
		goto out;
	}
	hdr->ramdisk_image = gpa;
	hdr->ramdisk_size = size;
	ret = hva ? read_fully(fd, path, hva + gpa, size, 0) : 0;
out:
	if (fd >= 0)
		close(fd);
	return ret;
}

/**
 * boot_check - check the arguments of boot_load() before the machine is created
 * @kernel: a bzImage
 * @initrd: its initramfs, or NULL
 * @append: its command line
 * @memory: how much the machine has
 *
 * Return: 0, or -1 after a message
 */
int boot_check(const char *kernel, const char *initrd, const char *append,
	       uint64_t memory)
{
	struct setup_header hdr = { 0 };

	if (strlen(append) > CMDLINE_MAX - TSC_PARAM_MAX) {
		warnx("--append: too long");
		return -1;
	}
	if (load_kernel(NULL, memory, kernel, &hdr))
		return -1;
	return initrd ? load_initrd(NULL, memory, initrd, &hdr) : 0;
}

static void add_e820(struct boot_params *params, uint64_t start, uint64_t end)
{
	params->e820_table[params->e820_entries++] = (struct boot_e820_entry) {
		.addr = start, .size = end - start, .type = 1,
	};
}

/* Map the first 4G one to one. */
static void make_page_tables(void *hva)
{
	uint64_t *pml4 = hva + TABLES_GPA, *pdpt = pml4 + 512;
	uint64_t *pd = pdpt + 512;

	memset(pml4, 0, 2 * SZ_4K);
	pml4[0] = (TABLES_GPA + SZ_4K) | PTE_PRESENT_RW;
	for (uint64_t i = 0; i < 4; i++)
		pdpt[i] = (TABLES_GPA + (2 + i) * SZ_4K) | PTE_PRESENT_RW;
	for (uint64_t i = 0; i < 4 * 512; i++)
		pd[i] = i * SZ_2M | PTE_LARGE | PTE_PRESENT_RW;
}

static int set_registers(struct machine *m, uint64_t rip)
{
	static const uint64_t gdt[] = {
		0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff,
	};
	struct kvm_segment code = {
		.limit = 0xffffffff, .selector = 0x10, .type = 11,
		.present = 1, .l = 1, .s = 1, .g = 1,
	};
	struct kvm_segment data = code;
	struct kvm_regs regs = {
		.rip = rip, .rsi = PARAMS_GPA, .rflags = RFLAGS_FIXED,
	};
	struct kvm_sregs sregs;

	if (ioctl(m->vcpu.fd, KVM_GET_SREGS, &sregs)) {
		warn("KVM_GET_SREGS");
		return -1;
	}
	data.selector = 0x18;
	data.type = 3;
	data.l = 0;
	data.db = 1;
	sregs.cs = code;
	sregs.ds = data;
	sregs.es = data;
	sregs.ss = data;
	memcpy(m->mem->hva + GDT_GPA, gdt, sizeof(gdt));
	sregs.gdt.base = GDT_GPA;
	sregs.gdt.limit = sizeof(gdt) - 1;
	sregs.cr3 = TABLES_GPA;
	sregs.cr4 = CR4_PAE;
	sregs.cr0 = CR0_PE_ET_NE_PG;
	sregs.efer = EFER_LME_LMA;
	if (ioctl(m->vcpu.fd, KVM_SET_SREGS, &sregs) ||
	    ioctl(m->vcpu.fd, KVM_SET_REGS, &regs) ||
	    machine_set_msr(m, MSR_MTRR_DEF_TYPE, MTRR_ON_WRITE_BACK)) {
		warn("cannot set the vCPU's registers");
		return -1;
	}
	return 0;
}

/**
 * boot_load - load a kernel into a machine and set the vCPU to its entry
 * @m: the machine
 * @kernel: a bzImage
 * @initrd: its initramfs, or NULL
 * @append: its command line, which boot_check() found short enough
 *
 * Return: 0, or -1 after a message
 */
int boot_load(struct machine *m, const char *kernel, const char *initrd,
	      const char *append)
{
	struct boot_params params = { 0 };
	char *cmdline = m->mem->hva + CMDLINE_GPA;
	void *hva = m->mem->hva;
	uint64_t size = m->mem->size;
	int khz;

	if (load_kernel(hva, size, kernel, &params.hdr) ||
	    (initrd && load_initrd(hva, size, initrd, &params.hdr)))
		return -1;

	/* Without this parameter, Linux takes a long time to measure the TSC. */
	khz = ioctl(m->vcpu.fd, KVM_GET_TSC_KHZ, 0UL);
	snprintf(cmdline, CMDLINE_MAX, "%s tsc_early_khz=%d", append,
		 khz > 0 ? khz : 0);
	params.hdr.cmd_line_ptr = CMDLINE_GPA;
	params.hdr.type_of_loader = LOADER_UNKNOWN;
	add_e820(&params, 0, LOW_END);
	add_e820(&params, HIGH_START, m->mem->size);
	memcpy(m->mem->hva + PARAMS_GPA, &params, sizeof(params));
	make_page_tables(m->mem->hva);
	return set_registers(m, params.hdr.pref_address + ENTRY_64);
}
